"""What the command line prints for people: tables out of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.app.deliver import caller_of, tls_of
from node.app.role import destinations_of, read_catalog
from node.config import Config
from node.core.errors import CodedError
from node.dimse import scu
from node.ledger import audit, views
from node.ledger.engine import Ledger

#: What the events of the walk mean, in the order in which a study passes them: number in the design's table, and words.
STEPS: Mapping[str, tuple[int, str]] = {
    "association.accepted": (1, "association accepted"),
    "association.rejected": (1, "association rejected"),
    "instance.received": (5, "instance durable, row committed, Success answered"),
    "instance.duplicate": (5, "the same bytes again, counted"),
    "instance.conflict": (5, "other bytes under a UID that is held, kept as evidence"),
    "instance.adopted": (5, "row rebuilt from the file after a crash"),
    "instance.refused": (6, "instance refused"),
    "association.released": (6, "association released"),
    "association.aborted": (6, "association aborted"),
    "association.lost": (6, "association lost"),
    "study.opened": (5, "study opened"),
    "study.reopened": (5, "a late instance opened a new revision"),
    "study.completed": (7, "study judged complete"),
    "study.not_applicable": (8, "a pipeline takes nothing of it"),
    "job.queued": (8, "job queued"),
    "job.unchanged": (8, "input unchanged since an earlier revision, not run again"),
    "job.claimed": (9, "job claimed with a lease"),
    "job.finished": (12, "job done: inferred, measured, encoded, verified, stored"),
    "job.refused": (12, "job refused"),
    "job.failed": (12, "job failed"),
    "job.retried": (9, "job will be tried again"),
    "job.rescued": (9, "job taken from a worker that is gone"),
    "job.fenced": (12, "a late result was dropped"),
    "job.replayed": (9, "job brought back by an operator"),
    "delivery.owed": (12, "object owed"),
    "parcel.claimed": (13, "courier has taken the parcel"),
    "delivery.started": (13, "sending"),
    "delivery.sent": (14, "stored by the destination"),
    "delivery.postponed": (14, "not stored yet"),
    "delivery.refused": (14, "refused by the destination"),
    "delivery.replayed": (13, "object taken up again"),
    "parcel.finished": (14, "parcel delivered"),
    "parcel.refused": (14, "parcel parked"),
    "parcel.failed": (14, "parcel parked"),
    "parcel.retried": (13, "parcel will be tried again"),
    "parcel.rescued": (13, "parcel taken from a courier that is gone"),
    "parcel.fenced": (14, "a late answer was dropped"),
    "parcel.replayed": (13, "parcel brought back by an operator"),
    "study.taken_up_again": (9, "study taken up again, because a job of it is replayed"),
    "study.processed": (14, "every job of the study has ended"),
}
_REPEATED = frozenset({"instance.received", "instance.duplicate", "instance.refused"})


def print_history(config: Config, console: Console, uid: str) -> bool:
    """Print the history of one study; False when the audit log knows nothing of it."""
    with closing(Ledger(config.database_url, actor="history")) as ledger, ledger.reading() as tx:
        rows = views.history(tx, uid)
    if not rows:
        console.print(f"The audit log knows nothing of {uid}.")
        return False
    console.print(table_of(rows, f"History of {uid}"))
    return True


def table_of(rows: list[views.AuditRow], title: str) -> Table:
    """Make a table of audit rows; runs of rows on single instances become one line with their number."""
    table = Table(title=title, title_justify="left", show_lines=False, pad_edge=False)
    for column, justify in (("row", "right"), ("UTC", "left"), ("step", "right"), ("event", "left"), ("code", "left"), ("what", "left")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for group in _group(rows):
        first, last = group[0], group[-1]
        number = f"{first.n}" if first is last else f"{first.n}-{last.n}"
        step = STEPS.get(first.event, (0, ""))[0]
        cells = (number, f"{first.at:%H:%M:%S.%f}"[:-3], str(step or ""), first.event, first.code or "", _what(group))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _group(rows: list[views.AuditRow]) -> list[list[views.AuditRow]]:
    groups: list[list[views.AuditRow]] = []
    for row in rows:
        before = groups[-1][0] if groups else None
        if before and row.event in _REPEATED and (before.event, before.code) == (row.event, row.code):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _what(group: list[views.AuditRow]) -> str:
    row, words = group[0], STEPS.get(group[0].event, (0, ""))[1]
    if len(group) > 1:
        words = f"{len(group)} x {words}"
    return f"{words}. {_say(row.event, row.detail, row)}".strip()


def _say(event: str, detail: Mapping[str, Any], row: views.AuditRow) -> str:
    noun, verb = event.split(".")
    if noun == "association":
        count = f", {detail['instances']} instances" if "instances" in detail else ""
        reason = f": {detail['reason']}" if "reason" in detail else ""
        return f"{detail['calling_ae']} ({detail['address']}) to {detail['called_ae']}{count}{reason}"
    if noun == "delivery":
        told = " ".join(str(detail[key]) for key in ("kind", "status", "sentence") if detail.get(key))
        return f"{row.destination}: {told}".rstrip(": ")
    if (noun, verb) in _SAYINGS:
        return _SAYINGS[noun, verb](detail, row)
    return str(detail.get("sentence") or detail.get("why") or "")


def _say_completed(detail: Mapping[str, Any], row: views.AuditRow) -> str:
    why = f"quiet for {detail['quiet_s']:g} s" if detail["rule"] == "quiet" else detail["rule"]
    return f"revision {row.revision}: {detail['instances']} instances in {detail['series']} series, {why}"


def _say_not_applicable(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    reasons = "; ".join(f"...{uid[-12:]}: {why}" for uid, why in detail["series"].items())
    return f"{detail['pipeline']}: {detail['sentence']} {reasons}"


def _say_queued(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"{detail['pipeline']} on series ...{detail['series'][0][-12:]}"


def _say_finished(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"on {detail['device']} in {sum(detail['seconds'].values()):.1f} s: {findings_text(detail)}"


_SAYINGS: Mapping[tuple[str, str], Callable[[Mapping[str, Any], views.AuditRow], str]] = {
    ("study", "completed"): _say_completed,
    ("study", "not_applicable"): _say_not_applicable,
    ("job", "queued"): _say_queued,
    ("job", "finished"): _say_finished,
}


def findings_text(summary: Mapping[str, Any]) -> str:
    """The numbers of a finished job in one line."""
    parts = (
        f"{name} {', '.join(f'{measure} {value:g}' for measure, value in numbers.items())}" for name, numbers in summary["findings"].items()
    )
    return "; ".join(parts)


def print_status(config: Config, console: Console) -> None:
    """Print counts by state, and what needs a person."""
    with closing(Ledger(config.database_url, actor="status")) as ledger, ledger.reading() as tx:
        counts, troubles = views.counts(tx), views.troubles(tx)
    table = Table(title="Counts", title_justify="left")
    for column in ("what", "state", "count"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for what, states in counts.items():
        for state, count in sorted(states.items()):
            table.add_row(what, state, str(count))
    console.print(table)
    if not troubles:
        return
    table = Table(title="Needs a person (radnode history UID tells more, radnode replay WORK brings it back)", title_justify="left")
    for column in ("work", "state", "study", "code", "reason"):
        table.add_column(column, overflow="fold")
    for trouble in troubles:
        cells = (trouble.work_id, trouble.state, trouble.study_instance_uid, trouble.code or "", trouble.reason or "")
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def print_check(config: Config, console: Console, *, peers: bool) -> bool:
    """Print the configuration in force and what is wrong with it; True when nothing is."""
    console.print_json(config.model_dump_json())
    faults: list[str] = []
    catalog = read_catalog(config)
    for name in config.pipelines.enabled:
        if name in catalog.unavailable:
            faults.append(f"pipeline {name}: {catalog.unavailable[name]}")
        else:
            model = catalog.available[name].model
            console.print(Text(f"pipeline {name}: available, model {model.name} {model.version} ({model.digest[:12]})", style="green"))
    for destination in destinations_of(config).values() if peers else ():
        try:
            scu.verify(caller_of(config), destination, tls_of(config).get(destination.name))
            console.print(Text(f"destination {destination.name}: answered the C-ECHO", style="green"))
        except CodedError as error:
            faults.append(f"destination {destination.name}: {error}")
    for fault in faults:
        console.print(Text(fault, style="red"))
    return not faults


def print_chain(config: Config, console: Console) -> bool:
    """Print what is wrong with the audit log's chain; True when it is whole."""
    with closing(Ledger(config.database_url, actor="verify")) as ledger, ledger.reading() as tx:
        broken = list(audit.broken_rows(tx))
    for sentence in broken:
        console.print(Text(sentence, style="red"))
    console.print("The chain is broken." if broken else "The chain is whole.")
    return not broken
