"""`doit tabcompletion`: prints a script for a shell, and what the script asks for while a line is being written.

doit's own scripts know no labels behind qatbuild's commands, no stages, variants and values of options, no fish, and
need the package bash-completion. These scripts know nothing: they ask for the words that may stand at the cursor.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

from doit.cmd_completion import TabCompletion as DoitTabCompletion
from doit.cmd_completion import opt_hardcode_tasks

from qatbuild.plugin.candidates import Candidate, Commands, candidates
from qatbuild.plugin.commands.inherited import WithParentSearch
from qatbuild.plugin.commands.option import option
from qatbuild.plugin.invocation import Invocation, current

SCRIPTS = Path(__file__).parents[1] / "shells"
_SHELLS = ("bash", "zsh", "fish")

_SHELL = option("shell", "bash", "the shell that reads the script [default: bash]", short="s") | {
    "choices": [(shell, "") for shell in _SHELLS]
}
_WORD = option(
    "word",
    None,
    "for the scripts: print what may replace this word, which may be empty, behind the words after --",
    kind=str,
)


class _Scripts(DoitTabCompletion):  # type: ignore[misc]
    """The command without the search for a dodo.py."""

    doc_purpose = "print a script that completes commands, labels, variants and stages in a shell"
    cmd_options = (_SHELL, opt_hardcode_tasks, _WORD)

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Prints a script, or the candidates, one a line: the word, a tab, its description."""
        if opt_values["word"] is not None:
            sys.stdout.writelines(f"{word}\t{text}\n" for word, text in self._candidates(pos_args, opt_values["word"]))
        elif opt_values["hardcode_tasks"]:
            return super().execute(opt_values, pos_args)
        else:
            sys.stdout.write((SCRIPTS / f"doit.{opt_values['shell']}").read_text(encoding="utf-8"))
        return 0

    def _candidates(self, before: list[str], word: str) -> list[Candidate]:
        """Returns the candidates as far as the dodo.py can be loaded: a line that is half written has no errors."""
        commands = Commands(self.cmds, self.init_kwargs)
        result: list[Candidate] = []
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception, SystemExit):
            result.extend(candidates(before, word, commands, self.loader, current()))
        return result


class TabCompletion(WithParentSearch, _Scripts):
    """`doit tabcompletion`."""

    name = "tabcompletion"

    def invocation(self, params: Any, args: list[str]) -> Invocation:
        """Returns an invocation that reads no spec which the last build has on record."""
        return Invocation(tuple(args), lists=params["word"] is not None)
