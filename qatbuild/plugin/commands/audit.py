"""`doit audit`: builds a sample of the kept results again, compares, and stops the use of wrong ones."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from qatbuild.engine.audit.auditor import Auditor, Finding, Judgement
from qatbuild.engine.audit.sample import Progress, count, from_position, position
from qatbuild.engine.store import Store
from qatbuild.engine.store.entry import Writer
from qatbuild.exchange.errors import SpecError, printable
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import JSON, option
from qatbuild.plugin.session import Session

_SHARE = "1%"
_KEY_DIGITS = 12


class Audit(SpecCommand):
    """Audits the store or cache."""

    name = "audit"
    doc_purpose = "build a sample of the kept results again, and compare"
    doc_usage = "[--share PERCENT | --limit N | --idle SECONDS] [LABEL[:STAGE]] ..."
    doc_description = (
        "The results that a build would use are built again in a scratch folder, and compared byte for byte. The writer"
        " of a wrong one is put in quarantine: none of its results is used any more, and the right one is kept instead."
        " Each audit goes on where the last one ended. With labels, all their results are audited. Exit status 1 if one"
        " is wrong."
    )
    cmd_options = (
        JSON,
        option("share", "", "the share of the results to audit [default: 1%%]"),
        option("limit", 0, "the number of results to audit"),
        option("idle", 0.0, "audit until this number of seconds is over"),
    )  # fmt: skip

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Audits and prints what was found; returns 1 if a result was wrong."""
        limits = _limits(options)
        store = session.builder.store
        if store is None:
            raise SpecError("The project keeps no results to audit.", hint="set `store` or `cache` in [tool.qatbuild]")
        findings = []
        for finding in _findings(session, store, names, limits):
            findings.append(finding)
            if not options["json"]:
                sys.stdout.writelines(f"{line}\n" for line in lines(finding, session))
                sys.stdout.flush()
        if options["json"]:
            write_json({"findings": [to_json(finding, session) for finding in findings]})
        else:
            sys.stdout.write(f"{summary(findings)}\n")
        return 1 if any(finding.judgement is Judgement.WRONG for finding in findings) else 0


class _Limits(NamedTuple):
    """How much is audited: a share (0 to 1) of the results or a number of them, 0 for no limit; and until when."""

    share: float
    number: int
    seconds: float


def _limits(options: Any) -> _Limits:
    """Reads the options. SpecError for more than one limit, or an invalid one."""
    chosen = [f"--{name}" for name in ("share", "limit", "idle") if options[name]]
    if len(chosen) > 1:
        raise SpecError("doit audit takes one limit.", [("got", " ".join(chosen))])
    text = options["share"] or ("" if chosen else _SHARE)
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1) if text else 0.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1 or (text and not share):
        raise SpecError(f'--share must be a part of the results, got "{text}".', hint="doit audit --share 1%")
    for name in ("limit", "idle"):
        if not options[name] >= 0:  # Also refuses NaN.
            raise SpecError(f"--{name} must be at least 0, got {options[name]:g}.")
    return _Limits(share, options["limit"], options["idle"])


def _findings(session: Session, store: Store, names: list[str], limits: _Limits) -> Iterator[Finding]:
    """Audits results in order, from where the last audit ended; with names, all of theirs."""
    verdicts = session.forecast(names)
    ids = session.select(names)
    keys = [key for id_ in ids if (key := verdicts[id_].key) is not None]
    progress = Progress(store)
    ordered = from_position(keys, "" if names else progress.read())
    shared = len(ordered) if names else count(limits.share, len(ordered))
    most = limits.number or (shared if limits.share else 0)
    ends_s = time.monotonic() + limits.seconds if limits.seconds else None
    auditor = Auditor(session.builder.rebuilder, store, session.builder.executor, verdicts)
    try:
        for number, finding in enumerate(auditor.findings(ordered), 1):
            if not names:
                progress.write(position(finding.entry.key))
            yield finding
            if number == most or (ends_s is not None and time.monotonic() >= ends_s):
                break
    finally:
        session.builder.finish()
        session.builder.executor.stop()


def lines(finding: Finding, session: Session) -> Iterator[str]:
    """Yields the lines about a result that was not equal."""
    if finding.judgement is Judgement.EQUAL:
        return
    stage, entry = finding.verdict.stage, finding.entry
    what = ", ".join(map(printable, finding.details))
    yield f"{finding.judgement}  {session.task(stage.labels[0])}:{stage.name} {entry.key[:_KEY_DIGITS]}: {what}"
    if finding.judgement is Judgement.WRONG:
        who = "this machine" if entry.writer.id == Writer.here().id else f"writer {entry.writer.id}"
        made_with = f"{printable(entry.writer.processor)}, qatbuild {printable(entry.writer.version)}"
        yield f"  No result of {who} is used any more ({made_with})."
    if finding.judgement is Judgement.NOT_COMPARABLE:
        yield f"  It was made on another processor: {printable(entry.writer.processor)}."


def to_json(finding: Finding, session: Session) -> dict[str, Any]:
    """Returns a finding as plain data."""
    stage, entry = finding.verdict.stage, finding.entry
    return {
        "key": entry.key,
        "stage": stage.name,
        "labels": list(map(session.task, stage.labels)),
        "judgement": finding.judgement,
        "details": finding.details,
        "writer": entry.writer._asdict(),
    }


def summary(findings: Sequence[Finding]) -> str:
    """Returns the numbers of findings in one line."""
    numbers = Counter(finding.judgement for finding in findings)
    parts = [f"{numbers[each]} {each}" for each in Judgement if numbers[each]]
    return f"{len(findings)} audited: {', '.join(parts)}" if parts else "nothing to audit"
