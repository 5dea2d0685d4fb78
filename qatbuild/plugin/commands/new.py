"""`doit new`: writes a first spec for the user's data and network."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doit.exceptions import InvalidCommand

from qatbuild.engine.new.beginning import Begun, Wish, begin
from qatbuild.engine.new.document import Scaling
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError, printable
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.inherited import is_ours_above
from qatbuild.plugin.commands.option import JSON, flag, option
from qatbuild.plugin.invocation import Invocation, entered
from qatbuild.plugin.session import Session
from qatbuild.plugin.streams import guarded

_SIDES = 2
_MOST = 1_000_000_000


class New(SpecCommand):
    """Looks at data and a network, and writes a spec and, where it is missing, a dodo.py."""

    name = "new"
    doc_purpose = "write a first spec for your data"
    doc_usage = "NAME --data PATH [--model NETWORK] [--minutes N]"
    doc_description = (
        "Look at the data (a folder of pictures, a CSV file of names and labels, .npz, IDX, TFRecords) and a network,"
        " and write specs/NAME.json: its mean and std_dev fit the data, its trainings take about --minutes here, and"
        " what is unusual about the data stands in its comments. Without --data it asks, at a terminal."
    )
    cmd_options = (
        JSON,
        option("data", "", "folder or file with the data"),
        option("model", "", "a shipped network, module:function, a .keras, .h5 or .pb file, a SavedModel"),
        option("minutes", 10.0, "time for the trainings [default: %(default)s]"),
        option("steps", 0, "steps of the float training, without measuring their time"),
        option("size", "", "size of pictures, such as 96 or 120x160 (height x width)"),
        option("targets", "", "arrays that are to be found from the others, such as group,age"),
        option("mean", None, "the byte that means 0.0 to the network", kind=float),
        option("std_dev", None, "the difference of bytes that means 1.0 to the network", kind=float),
        flag("no_labels", "the data have no labels: a trained network is only calibrated"),
        flag("force", "replace a spec with this name"),
    )

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Writes the spec, also where no dodo.py, or no spec, lets doit load a project."""
        self._here = Path.cwd()  # Loading the dodo.py goes to its folder.
        command = Invocation(tuple(pos_args))
        with guarded(command), entered(command):
            if (project := _project_without_specs(Path(opt_values["dodoFile"]))) is not None:
                return _begun(project, "", opt_values, pos_args, self._here)
        return super().execute(opt_values, pos_args)

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Writes the spec in the project, and prints what was seen."""
        return _begun(session.project, session.prefix, options, session.without_prefix(names), self._here)


def _project_without_specs(dodo: Path) -> Project | None:
    """Returns the project that begins with this command: it lacks a dodo.py, or has one of qatbuild's but no spec."""
    above = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / dodo).exists()), None)
    if above is None or (above != Path.cwd() and not is_ours_above()):
        return Project.at(Path.cwd())
    is_ours = b"qatbuild" in (above / dodo).read_bytes()
    project = Project.at(above) if is_ours else None
    return project if project and not project.files() else None


def _begun(project: Project, prefix: str, options: Mapping[str, Any], names: list[str], here: Path) -> int:
    if len(names) > 1:
        raise SpecError("doit new writes one spec.", [("got", " ".join(names))], "doit new NAME --data PATH")
    begun = begin(project, _wish(names, options, here))
    if options["json"]:
        write_json(
            {
                "spec": str(begun.file),
                "remarks": begun.look.remarks,
                "document": begun.document,
            }
        )
    else:
        _print(begun, prefix, project)
    return 0


def _print(begun: Begun, prefix: str, project: Project) -> None:
    name = begun.file.relative_to(project.specs).with_suffix("").as_posix()
    if project.patterns:
        name = "/".join(part for part in name.split("/") if part != "specs")
    sys.stdout.write(f"{printable(os.path.relpath(begun.file))}\n")
    sys.stdout.writelines(f"  {printable(text)}\n" for text in begun.look.remarks)
    sys.stdout.write(f"Build it: doit {prefix}{'/' if prefix else ''}{name}\n")


def _wish(names: list[str], options: Mapping[str, Any], here: Path) -> Wish:
    """Returns what the options say, with paths relative to `here`; what is missing is asked for at a terminal."""
    answers = dict(options)
    name = names[0] if names else ""
    if not (name and answers["data"]):
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            missing = " and ".join(what for what, value in (("NAME", name), ("--data", answers["data"])) if not value)
            raise SpecError(
                "doit new lacks what it is to look at.", [("missing", missing)], "doit new NAME --data PATH"
            )
        name = name or _asked("Name of the spec")
        answers["data"] = answers["data"] or _asked("Data (a folder of pictures, .csv, .npz, IDX, TFRecords)")
        answers["model"] = answers["model"] or _asked("Network (empty: one that fits)", needed=False)
        answers["minutes"] = _minutes(_asked("Minutes for the trainings (empty: 10)", needed=False), answers["minutes"])
    for field, least in (("minutes", 0.0), ("steps", -1)):
        if not least < answers[field] <= _MOST:  # Also refuses NaN.
            raise SpecError(f"--{field} must be positive and at most {_MOST:,}, got {answers[field]:g}.")
    return Wish(
        name=name,
        data=str(here / answers["data"]),
        network=_network(answers["model"], here),
        size=_size(answers["size"]),
        minutes=answers["minutes"],
        steps=answers["steps"] or None,
        labels=not answers["no_labels"],
        targets=[name for name in answers["targets"].split(",") if name],
        scaling=Scaling(answers["mean"], answers["std_dev"]),
        force=answers["force"],
    )


def _network(text: str, here: Path) -> str:
    """Returns a network with the absolute path of its file; any other as it is."""
    place, _, function = text.rpartition(":")
    if place.endswith(".py"):
        return f"{here / place}:{function}"
    return str(here / text) if text and (here / text).exists() else text


def _minutes(answer: str, default: float) -> float:
    try:
        return float(answer or default)
    except ValueError as fault:
        raise SpecError("The minutes are no number.", [("got", answer)]) from fault


def _asked(question: str, *, needed: bool = True) -> str:
    """Returns the answer to a question at the terminal; InvalidCommand at the end of the input."""
    while True:
        try:
            answer = input(f"{question}: ").strip()
        except EOFError:
            raise InvalidCommand("doit new ended without an answer; nothing was written.") from None
        if answer or not needed:
            return answer


def _size(text: str) -> tuple[int, ...]:
    """Returns (height, width) of a text such as 96 or 120x160; () of ''."""
    sides = text.lower().split("x") if text else []
    if len(sides) > _SIDES or not all(side.isascii() and side.isdigit() and int(side) for side in sides):
        raise SpecError("The size of pictures cannot be read.", [("--size", text)], "write 96, or 120x160")
    return tuple(map(int, sides * (_SIDES // len(sides)))) if sides else ()
