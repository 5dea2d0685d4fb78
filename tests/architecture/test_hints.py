"""Every hint has a test that follows it."""

from __future__ import annotations

import pytest

from tests.architecture import hints

_ENOUGH = 13
"""Letters by which a hint is recognised; fewer, where they are half of it, do as well."""

_DISK = "the state of a disk, which a test cannot mend"
_INSTALLS = "installs a package, which no test does"
EXCEPTIONS: dict[str, str] = {
    "SIGKILL mostly means that memory ran out": "the memory of the machine",
    "please report it with the log": "a bug of a library",
    "install git": _INSTALLS,
    "pip install pillow": _INSTALLS,
    "install this qatbuild on the scheduler and on the workers": _INSTALLS,
    "pip install 'qatbuild[": f"{_INSTALLS}; tests/deploy look whether it is in pyproject.toml",
    "apt-get install {}": _INSTALLS,
    "apt-get update && apt-get install": _INSTALLS,
    "on Linux the pip packages tensorflow and tensorflow-cpu contain it": _INSTALLS,
    "make room and run doit again": _DISK,
    "the disk is read-only: mount it for writing": _DISK,
    "its file system has no locks, which keep two builds apart": _DISK,
    "the disk, or the connection to it, is faulty": _DISK,
    "allow more open files (ulimit -n)": "a limit of the shell",
    "Free some space and build again": _DISK,
    "Make room on that disk, or give the build the right": _DISK,
    "Check the free space on the disk": _DISK,
    "noise is still in the graph": "as dropout, by another operator",
    "give {} a bias: Arm NN": "needs Arm NN; tests/deploy look that a dense layer with a bias is not named",
}
"""A part of a hint -> why no test follows it."""


def test_every_hint_is_followed_by_a_test() -> None:
    written, followed = hints.written(), hints.followed()
    texts = [*followed, *EXCEPTIONS]
    missing = [f"{place}: {hint}" for hint, place in written.items() if not _part_of(hint, texts)]
    if missing:
        pytest.fail(
            "Hints that no test follows: write a test that does what the hint says, and that calls\n"
            'follows("a part of the hint"), of tests/hints.py, where it looks at the hint:\n' + "\n".join(missing)
        )


def test_what_tests_follow_and_what_is_excepted_are_hints() -> None:
    written = [hint.lower() for hint in hints.written()]
    gone = [text for text in [*hints.followed(), *EXCEPTIONS] if not any(text.lower() in hint for hint in written)]
    assert not gone, "These are no longer parts of hints; look at the tests that call follows() with them."


def _part_of(hint: str, texts: list[str]) -> bool:
    return any(text.lower() in hint.lower() for text in texts if len(text) >= min(_ENOUGH, len(hint) / 2))
