"""Circuit breakers: a destination that cannot be reached is left alone for a while, by every courier.

After so many failures of the transport in a row the circuit opens, and parcels wait without losing an attempt. When the time has come one
parcel tries (half open): its success closes the circuit, its failure opens it for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from node.core.states import CIRCUIT, follow
from node.ledger import schedule, schema
from node.ledger.audit import record
from node.ledger.engine import Transaction, database_now

_TABLE = schema.circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """When a circuit opens, and for how long.

    Attributes
    ----------
    trip_after : int
        Failures in a row that open it.
    first_s, most_s : float
        How long it stays open the first time, and at most; each failed probe doubles it.
    probe_s : float
        How long one probe may take; after that another may try.
    """

    trip_after: int
    first_s: float
    most_s: float
    probe_s: float

    def open_s(self, failures: int) -> float:
        """How long to leave a destination alone that has failed so often in a row."""
        return min(self.most_s, self.first_s * 2.0 ** min(max(failures - self.trip_after, 0), 30))


def is_closed(tx: Transaction, destination: str) -> bool:
    """Whether everyone may call."""
    state = tx.execute(sa.select(_TABLE.c.state).where(_TABLE.c.destination == destination)).scalar_one_or_none()
    return state in (None, "closed")


def enter(tx: Transaction, destination: str, policy: CircuitPolicy) -> float:
    """Ask whether to call a destination: 0 when we may, and are the probe where there is one; else in how many seconds to ask again."""
    row = _row(tx, destination)
    if row is None or row["state"] == "closed":
        return 0.0
    now = database_now(tx)
    wait_s = (row["probe_at"] - now).total_seconds()
    # More than any wait can be: the database's clock was stepped back since.
    if 0 < wait_s <= max(policy.most_s, policy.probe_s):
        return float(wait_s)
    record(tx, "circuit.probed", {"failures": row["failures"]}, destination=destination)
    _set(tx, destination, state=follow(CIRCUIT, row["state"], "probe"), probe_at=now + timedelta(seconds=policy.probe_s))
    return 0.0


def succeed(tx: Transaction, destination: str, line: str) -> None:
    """A destination was reached: its circuit closes, and what waits to be sent in ``line`` is due at once.

    Parameters
    ----------
    line : str
        The destination whose parcels waited: this one, or the one that stands for all senders.
    """
    row = _row(tx, destination)
    if row is None or (row["state"] == "closed" and not row["failures"]):
        return
    if row["state"] != "closed":
        detail = {"failures": row["failures"], "hastened": schedule.hasten(tx, line)}
        record(tx, "circuit.closed", detail, destination=destination)
        _set(tx, destination, state=follow(CIRCUIT, row["state"], "close"))
    _set(tx, destination, failures=0, probe_at=None, opened_at=None, reason=None)


def fail(tx: Transaction, destination: str, sentence: str, policy: CircuitPolicy) -> None:
    """A destination could not be reached."""
    row = _row(tx, destination)
    if row is None:
        row = {"state": "closed", "failures": 0}
        tx.execute(_TABLE.insert().values(destination=destination, **row))
    failures = row["failures"] + 1
    _set(tx, destination, failures=failures, reason=sentence)
    if row["state"] == "open" or (row["state"] == "closed" and failures < policy.trip_after):
        return
    open_s = policy.open_s(failures)
    detail = {"failures": failures, "open_s": round(open_s, 1), "sentence": sentence}
    at = record(tx, "circuit.opened", detail, destination=destination)
    _set(tx, destination, state=follow(CIRCUIT, row["state"], "trip"), opened_at=at, probe_at=at + timedelta(seconds=open_s))


def _row(tx: Transaction, destination: str) -> dict[str, Any] | None:
    found = tx.execute(sa.select(_TABLE).where(_TABLE.c.destination == destination)).mappings().one_or_none()
    return dict(found) if found is not None else None


def _set(tx: Transaction, destination: str, **values: object) -> None:
    tx.execute(_TABLE.update().where(_TABLE.c.destination == destination).values(**values))
