"""What is handed to the work engine next: the ledger chooses, by rank, within the limits, and nothing that is held.

All that waits stands in the ledger; only the first few of each line are in the engine at a time. So it costs the same to find the next one
whether ten wait or a hundred thousand, a hold takes effect at once, and whoever comes first by rank overtakes what waits in the engine too.
Jobs form one line; the parcels for each destination form one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from node.core.job import Ticket, WorkKind
from node.core.schedule import Limits, engine_priority
from node.ledger import holds, schema
from node.ledger.engine import Transaction, database_now

#: How many of a line wait in the engine, so that a worker never waits for the ledger to choose.
WINDOW = 8
_WORK = schema.work
# As text, so that either database can prove that the partial index of the same words serves the question.
_WAITS = sa.text("work.state = 'queued' AND work.handed_at IS NULL")
_IN_HAND = sa.text("work.handed_at IS NOT NULL")
# Of what is in hand. Asked for its state by name, SQLite would walk through all that waits by the index of states.
_NOT_BEGUN = _WORK.c.state != "running"
_LANES = sa.text(
    """
    WITH RECURSIVE lanes(lane) AS (
        SELECT min(work.lane) FROM work WHERE work.kind = :kind AND work.state = 'queued' AND work.handed_at IS NULL
        UNION ALL
        SELECT (SELECT min(work.lane) FROM work
                WHERE work.kind = :kind AND work.lane > lanes.lane AND work.state = 'queued' AND work.handed_at IS NULL)
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT lane FROM lanes WHERE lane IS NOT NULL
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Work that waits in one order: all jobs, or the parcels for one destination."""

    kind: WorkKind
    destination: str | None = None

    def lanes(self, tx: Transaction) -> list[str]:
        """Its parts that wait: each is one pipeline and one sender, or one destination."""
        return [self.destination] if self.destination is not None else lanes_of(tx, self.kind)


@dataclass(frozen=True, slots=True)
class _Head:
    rank: int
    work_id: str
    dispatch: int
    lane: str


def lane_of(pipeline: str, source: str, destination: str | None) -> str:
    """The part of its line in which work waits: whatever is held or limited is a whole lane."""
    return f"{pipeline}|{source}" if destination is None else destination


def lanes_of(tx: Transaction, kind: WorkKind) -> list[str]:
    """Every lane in which something waits: one look into the index for each, however much waits there."""
    return list(tx.execute(_LANES, {"kind": kind}).scalars())


def lines(tx: Transaction) -> Iterator[Line]:
    """Every line in which something waits to be handed over."""
    if lanes_of(tx, "infer"):
        yield Line(kind="infer")
    for destination in lanes_of(tx, "deliver"):
        yield Line(kind="deliver", destination=destination)


def release(tx: Transaction, line: Line, limits: Limits) -> list[Ticket]:
    """Choose what of ``line`` is handed over now, and return the tickets, the first by rank first."""
    heads = {lane: head for lane in _open_lanes(tx, line) if (head := _head(tx, line, lane)) is not None}
    if not heads:
        return []
    in_engine = _ranks_in_engine(tx, line)
    room = _Room(tx, limits) if line.kind == "infer" and limits.counts_lanes else None
    tickets = []
    while heads:
        head = min(heads.values(), key=lambda found: (found.rank, found.work_id))
        if len(in_engine) >= WINDOW and head.rank >= min(in_engine):
            break
        if room is not None and not room.take(head.lane):
            del heads[head.lane]
            continue
        tickets.append(_hand_over(tx, line, head))
        in_engine.append(head.rank)
        following = _head(tx, line, head.lane)
        heads = {**heads, head.lane: following} if following else {lane: one for lane, one in heads.items() if lane != head.lane}
    return tickets


def put_off(tx: Transaction, work_id: str, delay_s: float) -> Ticket | None:
    """Hand over ``work_id`` to be begun after ``delay_s`` seconds; None when it is in hand already."""
    row = tx.execute(sa.select(_WORK).where(_WORK.c.id == work_id, _WAITS)).mappings().one_or_none()
    if row is None:
        return None
    now = database_now(tx)
    tx.execute(_WORK.update().where(_WORK.c.id == work_id).values(handed_at=now, due_at=now + timedelta(seconds=delay_s)))
    return _ticket(row["id"], row["kind"], row["dispatch"], row["rank"], row["destination"], delay_s)


def hasten(tx: Transaction, destination: str) -> int:
    """Have the parcels for a destination that were put off with something left to send be due at once; return how many.

    Their tickets claim nothing any more, and they wait in their line, which the caller refills.
    """
    unsent = schema.delivery.c.state.in_(("waiting", "sending"))
    mine = (_WORK.c.kind == "deliver") & (_WORK.c.destination == destination) & (_WORK.c.state == "queued")
    later = _WORK.c.due_at > database_now(tx)
    some = _WORK.c.id.in_(sa.select(schema.delivery.c.work_id).where(schema.delivery.c.destination == destination, unsent))
    values = {"handed_at": None, "due_at": None, "dispatch": _WORK.c.dispatch + 1}
    return int(tx.execute(_WORK.update().where(mine, later, some, _IN_HAND).values(**values)).rowcount)


def take_back(tx: Transaction, which: sa.ColumnElement[bool]) -> int:
    """Take what has not begun out of the engine's hands: its tickets claim nothing any more. Return how many."""
    mine = which & _NOT_BEGUN
    values = {"handed_at": None, "dispatch": _WORK.c.dispatch + 1}
    return int(tx.execute(_WORK.update().where(mine, _IN_HAND).values(**values)).rowcount)


def admits(tx: Transaction, work_id: str, dispatch: int, limits: Limits, device: str) -> bool | None:
    """Whether work that was handed over may begin, by what is held and what runs at this moment; None: later, on this device.

    What may not is taken back; it is handed over again when its time has come.
    """
    mine = (_WORK.c.id == work_id) & (_WORK.c.dispatch == dispatch) & (_WORK.c.state == "queued")
    columns = (_WORK.c.kind, _WORK.c.lane, _WORK.c.pipeline, _WORK.c.destination)
    row = tx.execute(sa.select(*columns).where(mine)).one_or_none()
    if row is None:
        return True  # out of date; the claim will say so
    is_stopped = any(hold.kind == "everything" or hold.name == (row.destination or row.pipeline) for hold in _holds(tx, row.kind))
    room = _Room(tx, limits, running_only=True) if row.kind == "infer" and limits.counts_lanes else None
    if is_stopped or (room is not None and not room.take(row.lane)):
        take_back(tx, _WORK.c.id == work_id)
        return False
    if row.kind == "infer":
        if limits.per_device and _running_on(tx, device) >= limits.per_device:
            take_back(tx, _WORK.c.id == work_id)
            return None
        tx.execute(_WORK.update().where(mine).values(device=device))
    return True


class _Room:
    """What is left of the limits."""

    def __init__(self, tx: Transaction, limits: Limits, *, running_only: bool = False) -> None:
        self._limits = limits
        self._pipelines: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        counted = _WORK.c.kind == "infer"
        if running_only:
            counted &= _WORK.c.state == "running"
        for row in tx.execute(sa.select(_WORK.c.lane, sa.func.count()).where(counted, _IN_HAND).group_by(_WORK.c.lane)):
            pipeline, _, source = row[0].partition("|")
            self._pipelines[pipeline] += row[1]
            self._sources[source] += row[1]

    def take(self, lane: str) -> bool:
        """Take a place for one more; False when there is none."""
        pipeline, _, source = lane.partition("|")
        if self._limits.is_full(pipeline, source, self._pipelines, self._sources):
            return False
        self._pipelines[pipeline] += 1
        self._sources[source] += 1
        return True


def _holds(tx: Transaction, kind: str) -> list[holds.Hold]:
    of_kind = {"infer": "pipeline", "deliver": "destination"}[kind]
    return [hold for hold in holds.listed(tx) if hold.kind in ("everything", of_kind)]


def _open_lanes(tx: Transaction, line: Line) -> Collection[str]:
    found = _holds(tx, line.kind)
    if any(hold.kind == "everything" for hold in found):
        return []
    stopped = {hold.name for hold in found}
    return [lane for lane in line.lanes(tx) if (lane if line.kind == "deliver" else lane.partition("|")[0]) not in stopped]


def _head(tx: Transaction, line: Line, lane: str) -> _Head | None:
    """The first by rank of those in a lane that are due."""
    mine = (_WORK.c.kind == line.kind) & (_WORK.c.lane == lane)
    due = _WORK.c.due_at.is_(None) | (_WORK.c.due_at <= database_now(tx))
    columns = (_WORK.c.rank, _WORK.c.id, _WORK.c.dispatch, _WORK.c.lane)
    row = tx.execute(sa.select(*columns).where(mine, _WAITS, due).order_by(_WORK.c.rank).limit(1)).one_or_none()
    return _Head(row.rank, row.id, row.dispatch, row.lane) if row else None


def _ranks_in_engine(tx: Transaction, line: Line) -> list[int]:
    """The ranks of what waits in the engine and could begin."""
    mine = (_WORK.c.kind == line.kind) & _NOT_BEGUN
    if line.destination is not None:
        mine &= _WORK.c.lane == line.destination
    due = _WORK.c.due_at.is_(None) | (_WORK.c.due_at <= database_now(tx))
    return list(tx.execute(sa.select(_WORK.c.rank).where(mine, due, _IN_HAND)).scalars())


def _running_on(tx: Transaction, device: str) -> int:
    mine = (_WORK.c.kind == "infer") & (_WORK.c.state == "running") & (_WORK.c.device == device)
    return int(tx.execute(sa.select(sa.func.count()).where(mine, _IN_HAND)).scalar_one())


def _hand_over(tx: Transaction, line: Line, head: _Head) -> Ticket:
    tx.execute(_WORK.update().where(_WORK.c.id == head.work_id).values(handed_at=database_now(tx), due_at=None))
    return _ticket(head.work_id, line.kind, head.dispatch, head.rank, line.destination, 0.0)


def _ticket(work_id: str, kind: WorkKind, dispatch: int, rank: int, destination: str | None, delay_s: float) -> Ticket:
    priority = engine_priority(rank)
    return Ticket(work_id=work_id, kind=kind, dispatch=dispatch, priority=priority, partition=destination, delay_s=delay_s)
