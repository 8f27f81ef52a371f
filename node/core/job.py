"""What is to be done: one pipeline on one set of series of one revision of a study, by one model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import zip_longest
from typing import Literal

from node.core.uids import derive_uid, derive_uuid


class Priority(IntEnum):
    """Smaller is sooner. Zero is not used: the work engine takes it for "not set", which is the highest."""

    STAT = 1
    URGENT = 10
    ROUTINE = 100
    BACKGROUND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One pipeline x one input set x one revision x one model digest.

    Attributes
    ----------
    node_ae : str
        Our AE title: two nodes that process the same study make different objects.
    series_instance_uids : tuple of str
        The input series, in the pipeline's order.
    stacks : tuple of str
        Which stack of each of them is meant; empty when all are single ones.
    queued_at : datetime
        When the study was judged complete, aware and in UTC. It is written once and dates the objects, so that a retry
        makes not only the same identifiers but the same bytes.
    input_sha256 : str
        Over the digests of the input instances: tells a revision that changes this input from one that does not.
    """

    node_ae: str
    study_instance_uid: str
    revision: int
    series_instance_uids: tuple[str, ...]
    pipeline: str
    model_digest: str
    input_sha256: str
    queued_at: datetime
    stacks: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The natural key: everything that makes this job another one than its neighbours."""
        inputs = [f"{uid}#{stack}" if stack else uid for uid, stack in zip_longest(self.series_instance_uids, self.stacks, fillvalue="")]
        return (self.node_ae, self.study_instance_uid, str(self.revision), *inputs, self.pipeline, self.model_digest)

    @property
    def id(self) -> str:
        """A short stable identifier, derived from the natural key."""
        return str(derive_uuid("job", *self.key))

    def derive_uid(self, kind: str, *more: str) -> str:
        """Derive the UID of something that this job makes, ``derive_uid("SEG", "series")`` for example."""
        return derive_uid(*self.key, kind, *more)


WorkKind = Literal["infer", "deliver"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One row of the work table: a job for the worker, or a parcel (a job's objects for one destination) for the courier.

    Attributes
    ----------
    id : str
        The job's id; for a parcel with the destination behind it.
    attempt : int
        From 1; how often it was tried and came to an end.
    dispatch : int
        From 1; how often it was handed to the engine, rescues included.
    crashes : int
        Claims that never came to an end, this one included.
    """

    id: str
    kind: WorkKind
    job_id: str
    job: Job
    destination: str | None
    priority: int
    attempt: int
    dispatch: int
    crashes: int

    @property
    def noun(self) -> str:
        """What it is called in the audit log."""
        return noun_of(self.kind)


def noun_of(kind: WorkKind) -> str:
    """Name a kind of work as the audit log does."""
    return "job" if kind == "infer" else "parcel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the work engine is given: which work, how urgent, when."""

    work_id: str
    kind: WorkKind
    dispatch: int
    priority: int
    partition: str | None = None
    delay_s: float = 0.0

    @property
    def workflow_id(self) -> str:
        """The engine's key: the same hand-over is entered once, however often it is asked for."""
        return f"{self.work_id}:{self.dispatch}"
