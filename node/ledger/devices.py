"""What is known of the devices that compute: whether they may, and what memory models were measured to need on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from node.core.errors import CodedError
from node.core.memory import Memory, Need
from node.ledger import schema
from node.ledger.audit import record
from node.ledger.engine import Transaction

#: How many of the latest jobs of a model tell what it needs.
_LATEST = 20


def record_examined(tx: Transaction, host: str, device: str, report: Mapping[str, Any], error: CodedError | None) -> None:
    """Write down what the self-test of a device found: in service without ``error``, out of service with it."""
    detail = {"host": host, "device": device, **report}
    if error is None:
        record(tx, "device.passed", detail)
    else:
        record(tx, "device.failed", {**detail, "sentence": error.sentence}, code=error.full_code)


def record_unloaded(tx: Transaction, host: str, device: str, model_digest: str, detail: Mapping[str, Any]) -> None:
    """Write down that a model's process was ended, and why."""
    record(tx, "model.unloaded", {"host": host, "device": device, "model_digest": model_digest, **detail})


def examined(tx: Transaction) -> list[tuple[datetime, str, str | None, Mapping[str, Any]]]:
    """The latest self-test of each device: when, ``device.passed`` or ``.failed``, its code, and what was found."""
    table = schema.audit
    query = sa.select(table.c.at, table.c.event, table.c.code, table.c.detail).where(table.c.event.in_(("device.passed", "device.failed")))
    found: dict[tuple[str, str], tuple[datetime, str, str | None, Mapping[str, Any]]] = {}
    for row in tx.execute(query.order_by(table.c.n.desc()).limit(500)):
        found.setdefault((row.detail["host"], row.detail["device"]), (row.at, row.event, row.code, row.detail))
    return [found[key] for key in sorted(found)]


def need_of(tx: Transaction, model_digest: str, family: str) -> Need | None:
    """What the latest jobs of a model have needed on devices of a family, ``cpu`` or ``cuda``; None if there are none."""
    table = schema.work
    same = (table.c.kind == "infer") & (table.c.state == "done") & (table.c.model_digest == model_digest)
    rows = tx.execute(sa.select(table.c.summary).where(same).order_by(table.c.finished_at.desc()).limit(_LATEST)).scalars()
    needs = [_read(summary["memory"]) for summary in rows if summary and summary.get("memory", {}).get("family") == family]
    total = needs[0] if needs else None
    for need in needs[1:]:
        total = need.at_least(total) if total else need
    return total


def written(need: Need, family: str) -> dict[str, Any]:
    """How a measured need stands in the summary of a job."""
    return {
        "family": family,
        "held": {"host": need.held.host, "device": need.held.device},
        "peak": {"host": need.peak.host, "device": need.peak.device},
    }


def _read(memory: Mapping[str, Any]) -> Need:
    return Need(held=Memory(**memory["held"]), peak=Memory(**memory["peak"]))
