"""The words that may stand at the cursor of a command line of doit: commands, options, labels, variants, stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from doit.cmdparse import CmdOption
from doit.loader import load_tasks

from qatbuild.engine.project import Only
from qatbuild.plugin.invocation import Invocation
from qatbuild.schema.label import spec_of

if TYPE_CHECKING:
    from qatbuild.plugin.session import Session


class Candidate(NamedTuple):
    """A word, and what a shell shows beside it; the description may be ''."""

    word: str
    description: str = ""


class Commands(NamedTuple):
    """The commands of doit by name, and the arguments with which doit makes each of them."""

    classes: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def purposes(self) -> Iterator[Candidate]:
        """Yields each command with its purpose."""
        return (Candidate(name, each.doc_purpose) for name, each in sorted(self.classes.items()))

    def options(self, name: str) -> list[CmdOption]:
        """Returns the options of a command."""
        return list(self.classes[name](**self.arguments).get_options())

    def takes_labels(self, name: str) -> bool:
        """Returns whether labels or tasks are arguments of a command."""
        usage = self.classes[name].doc_usage
        return "LABEL" in usage or "TASK" in usage


def candidates(
    before: Sequence[str], current: str, commands: Commands, loader: Any, command: Invocation
) -> Iterator[Candidate]:
    """Yields what may replace the word at the cursor, `current`, behind `doit` and the words `before`.

    `loader` has not loaded the dodo.py yet: only labels need it. Nothing is yielded where a shell should name files.
    """
    name = before[0] if before and before[0] in commands.classes else "run"
    yield from (each for each in _fitting(before, current, name, commands) if each.word.startswith(current))
    if current.startswith("-") or _takes_a_value(before, commands.options(name)):
        return
    if commands.takes_labels(name):
        yield from (each for each in _labels(current, loader, command) if each.word.startswith(current))


def _fitting(before: Sequence[str], current: str, name: str, commands: Commands) -> Iterator[Candidate]:
    """Yields commands, options and the values of options, whatever the current word begins with."""
    options = commands.options(name)
    if option := _takes_a_value(before, options):
        yield from _choices(option)
    elif current.startswith("--") and "=" in current:
        long, *_ = current.removeprefix("--").split("=")
        chosen = (option for option in options if option.long == long)
        yield from (Candidate(f"--{long}={word}", text) for option in chosen for word, text in _choices(option))
    elif current.startswith("-"):
        yield from (Candidate(f"--{option.long}", _one_line(option.help)) for option in options if option.long)
        yield from (Candidate(f"-{option.short}", _one_line(option.help)) for option in options if option.short)
    elif not before or before == ["help"]:
        yield from commands.purposes()


def _takes_a_value(before: Sequence[str], options: Sequence[CmdOption]) -> CmdOption | None:
    """Returns the option whose value is the next word; None without one."""
    last = before[-1] if before else ""
    spelt = (option for option in options if last in {f"--{option.long}", f"-{option.short}"} - {"-", "--"})
    return next((option for option in spelt if option.type is not bool), None)


def _choices(option: CmdOption) -> Iterator[Candidate]:
    return (Candidate(word, _one_line(text)) for word, text in dict(option.choices).items())


def _one_line(text: str) -> str:
    return " ".join(text.split()).partition(" [default: ")[0]


def _labels(current: str, loader: Any, command: Invocation) -> Iterator[Candidate]:
    """Yields labels and other tasks; behind the colon of a label, its stages."""
    loader.setup({option["name"]: option["default"] for option in loader.cmd_options} | {"seek_file": True})
    if ":" in current and command.projects:
        for session in _with_stages(current, command):
            yield from _stages(current, session)
        return
    tasks = load_tasks(loader.namespace, (), allow_delayed=True, config=loader.config)
    is_part = ":" in current
    yield from (Candidate(task.name, task.doc or "") for task in tasks if is_part == (":" in task.name))


def _with_stages(name: str, command: Invocation) -> Iterator[Session]:
    """Yields sessions in which the spec of a label is loaded: only this one, unless all are loaded anyway."""
    from qatbuild.plugin.session import Session  # noqa: PLC0415  Other words do without it, twice as fast.

    if command.sessions and any(name.startswith(f"{session.prefix}/") for session in command.sessions):
        yield from command.sessions
    else:
        yield from (Session.load(project, None, Only((spec_of(name),))) for project in command.projects)


def _stages(current: str, session: Session) -> Iterator[Candidate]:
    """Yields the stages of the label before the colon, or of the variants of the spec there."""
    name = current.partition(":")[0]
    wanted = session.within(name)
    chosen = (stages for label, stages in session.plan.labels.items() if wanted in {label, spec_of(label)})
    yield from (Candidate(f"{name}:{stage}") for stage in dict.fromkeys(stage for each in chosen for stage in each))
