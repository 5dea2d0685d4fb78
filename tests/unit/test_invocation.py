"""What a command does at its end, whatever interrupts it."""

from __future__ import annotations

import pytest

from qatbuild.plugin.invocation import Invocation, entered


def test_an_interrupt_at_the_end_of_a_command_leaves_no_action_out_and_calls_none_twice() -> None:
    invocation, calls = Invocation(), []

    def interrupted() -> None:
        calls.append("first")
        raise KeyboardInterrupt

    invocation.at_end(interrupted)
    invocation.at_end(lambda: calls.append("second"))
    with pytest.raises(KeyboardInterrupt), entered(invocation):
        pass
    assert calls == ["first", "second"]


def test_a_second_end_calls_no_action_again() -> None:
    invocation, calls = Invocation(), []
    invocation.at_end(lambda: calls.append("first"))
    invocation.end()
    invocation.at_end(lambda: calls.append("too late"))
    invocation.end()
    assert calls == ["first"]
