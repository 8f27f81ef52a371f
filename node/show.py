"""What the command line prints for people: tables out of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node import spoken
from node.app.condition import condition_of
from node.app.remotes import caller_of, destinations_of, tls_of
from node.app.residence import faults_of_place
from node.app.role import read_catalog
from node.config import Config
from node.core.errors import CodedError
from node.core.remote import Destination
from node.dimse import scu
from node.ledger import audit, devices, holds, views
from node.ledger.engine import Ledger
from node.spoken import STEPS

_REPEATED = frozenset({"instance.received", "instance.duplicate", "instance.quarantined", "instance.refused"})


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
    decided = {
        "quiet": f"quiet for {detail['quiet_s']:g} s",
        "patience": f"after {detail.get('patience_s', 0):g} s of patience",
        "steps": f"all {detail.get('stated')} that the modality has made",
        "discontinued": "discontinued by the modality",
    }
    learned = f", {detail['quiet_why']}" if detail["rule"] == "quiet" and detail.get("quiet_why", "configured") != "configured" else ""
    why = f"{decided.get(detail['rule'], detail['rule'])}{learned}. {_sentences(detail.get('missing', ()))}".strip()
    return f"revision {row.revision}: {detail['instances']} instances in {detail['series']} series, {why}"


def _say_released(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"{len(detail['set_aside'])} of them, says {detail['by']}"


def _say_awaited(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return _sentences(detail["reasons"])


def _sentences(reasons: Iterable[Mapping[str, Any]]) -> str:
    return " ".join(reason["sentence"] for reason in reasons)


def _say_not_applicable(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    reasons = "; ".join(f"...{uid[-12:]}: {why}" for uid, why in detail["series"].items())
    return f"{detail['pipeline']}: {detail['sentence']} {reasons}"


def _say_finished(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    rung = f", {said}" if (said := detail.get("rung", "as configured")) != "as configured" else ""
    return f"on {detail['device']}{rung} in {sum(detail['seconds'].values()):.1f} s: {findings_text(detail)}"


def _say_created(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"{detail['modality']} by {detail['station_ae']}, told by {detail['calling_ae']}"


def _say_step(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    because = " ".join(filter(None, (detail.get("reason"), f"({code})" if (code := detail.get("reason_code")) else "")))
    sent = f"; {detail['sent_before']} objects had been delivered before" if "sent_before" in detail else ""
    return f"{detail['instances']} instances in {detail['series']} series{f': {because}' if because else ''}{sent}"


def _say_purged(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"{detail['objects']} objects, {detail['bytes'] / 1e6:.1f} MB, by {detail['rule']}, {detail['age_s'] / 86400:.1f} days after"


def _say_judged(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    failed = "".join(f", ...{uid[-12:]} failed {reason}" for uid, reason in detail["failed"].items())
    return f"{len(detail['committed'])} committed{failed}"


def _say_told(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return " ".join(str(detail[key]) for key in ("calling_ae", "status", "sentence", "on", "remote") if detail.get(key))


def _say_answered(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    return f"{detail['calling_ae']}: {detail['matches']} matches at the level {detail['level']}, {detail['how']}"


def _say_retrieved(detail: Mapping[str, Any], _row: views.AuditRow) -> str:
    counts = f"{detail['completed']} sent, {detail['failed']} not"
    said = f" {detail['sentence']}" if detail["sentence"] else ""
    return f"{detail['calling_ae']} by {detail['service']} to {detail['destination']}: {counts}, {detail['status'] or 'left alone'}{said}"


_SAYINGS: Mapping[tuple[str, str], Callable[[Mapping[str, Any], views.AuditRow], str]] = {
    ("step", "created"): _say_created,
    ("step", "updated"): _say_step,
    ("step", "completed"): _say_step,
    ("step", "discontinued"): _say_step,
    ("study", "awaited"): _say_awaited,
    ("study", "completed"): _say_completed,
    ("study", "released"): _say_released,
    ("study", "not_applicable"): _say_not_applicable,
    ("job", "finished"): _say_finished,
    ("commitment", "judged"): _say_judged,
    **{(what, "purged"): _say_purged for what in ("source", "result", "quarantine")},
    **{("commitment", verb): _say_told for verb in ("requested", "repeated", "refused", "reported", "postponed", "failed")},
    ("query", "answered"): _say_answered,
    ("retrieve", "finished"): _say_retrieved,
    **spoken.SAYINGS,
}


def findings_text(summary: Mapping[str, Any]) -> str:
    """The numbers of a finished job in one line."""
    parts = (
        f"{name} {', '.join(f'{measure} {value:g}' for measure, value in numbers.items())}" for name, numbers in summary["findings"].items()
    )
    return "; ".join(parts) or "nothing was found"


def print_status(config: Config, console: Console) -> None:
    """Print counts by state, and what needs a person."""
    with closing(Ledger(config.database_url, actor="status")) as ledger, ledger.reading() as tx:
        counts, troubles = views.counts(tx), views.troubles(tx)
        stopped, examined = holds.listed(tx), devices.examined(tx)
    table = Table(title="Counts", title_justify="left")
    for column in ("what", "state", "count"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for what, states in counts.items():
        for state, count in sorted(states.items()):
            table.add_row(what, state, str(count))
    console.print(table)
    for hold in stopped:
        why = f" ({hold.reason})" if hold.reason else ""
        console.print(Text(f"Paused: {hold.what}, since {hold.held_at:%Y-%m-%d %H:%M:%S} UTC by {hold.by}{why}", style="yellow"))
    if examined:
        console.print(condition_of(examined))
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
    faults = [str(fault) for fault in faults_of_place(config)]
    catalog = read_catalog(config)
    for name in config.every_pipeline:
        if name in catalog.unavailable:
            faults.append(f"pipeline {name}: {catalog.unavailable[name]}")
        else:
            model = catalog.available[name].model
            console.print(Text(f"pipeline {name}: available, model {model.name} {model.version} ({model.digest[:12]})", style="green"))
    called = [found for found in destinations_of(config).values() if isinstance(found, Destination)]
    for destination in called if peers else ():
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
