"""The audit log: append-only, one row for every change of a state, chained by hashes.

Each row's hash covers the row and the hash before it, so that a row that was changed, taken out or put in later is found:
the construction of a hash chain as in S. Haber and W. S. Stornetta, "How to time-stamp a digital document", 1991.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from node.ledger import schema
from node.ledger.engine import Transaction, database_now

_FIRST = "0" * 64
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
#: What JSON gives back as it was.
_PLAIN = (str, int, bool, type(None))
#: Every row names every column, so that many can be inserted by one statement.
_EMPTY: Mapping[str, Any] = dict.fromkeys(column.name for column in schema.audit.columns)


class About(TypedDict, total=False):
    """What an audit row is about; absent keys are stored as NULL."""

    association_id: str
    study_instance_uid: str
    revision: int
    series_instance_uid: str
    sop_instance_uid: str
    work_id: str
    destination: str
    code: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be appended."""

    event: str
    detail: Mapping[str, Any]
    about: About


def record(tx: Transaction, event: str, detail: Mapping[str, Any] | None = None, **about: Unpack[About]) -> datetime:
    """Append one row in the caller's transaction.

    Parameters
    ----------
    event : str
        ``noun.past_participle``.
    detail : mapping, optional
        JSON; never a patient's name.

    Returns
    -------
    datetime
        The row's time, by the database's clock.
    """
    return record_all(tx, [Entry(event, detail or {}, about)])


def record_all(tx: Transaction, entries: Sequence[Entry]) -> datetime:
    """Append rows in this order, all of one time, by few statements; see ``record``."""
    last = tx.execute(sa.select(schema.audit.c.n, schema.audit.c.hash).order_by(schema.audit.c.n.desc()).limit(1)).one_or_none()
    before = last.hash if last else _FIRST
    at = database_now(tx)
    actor = tx.info.get("actor", "unknown")
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, last.n + 1 if last else 1):
        detail = _as_read(entry.detail)
        row: dict[str, Any] = {"n": number, "at": at, "event": entry.event, "actor": actor, "detail": detail, **entry.about}
        before = _hash(before, row)
        rows.append({**_EMPTY, **row, "hash": before})
    tx.execute(schema.audit.insert(), rows)
    return at


def _as_read(detail: Mapping[str, Any]) -> dict[str, Any]:
    """The detail as it will be read: a tuple is a list, and every key is text."""
    found = dict(detail)
    if all(type(key) is str and type(value) in _PLAIN for key, value in found.items()):
        return found
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def _hash(before: str, row: Mapping[str, Any]) -> str:
    present = {key: value for key, value in row.items() if value is not None and key != "hash"}
    present["at"] = row["at"].isoformat(timespec="microseconds")
    text = _ENCODER.encode(present)
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def broken_rows(tx: Transaction) -> Iterator[str]:
    """Walk the chain and tell what is wrong with it, one sentence a row; nothing when it is whole."""
    before, expected = _FIRST, 1
    for row in tx.execute(sa.select(schema.audit).order_by(schema.audit.c.n)).mappings():
        if row["n"] != expected:
            yield f"rows {expected} to {row['n'] - 1} are missing"
        if _hash(before, dict(row)) != row["hash"]:
            yield f"row {row['n']} ({row['event']}) or the one before it was changed"
        before, expected = row["hash"], row["n"] + 1
