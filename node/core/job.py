"""What is to be done: one pipeline on one set of series of one revision of a study, by one model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

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

    @property
    def key(self) -> tuple[str, ...]:
        """The natural key: everything that makes this job another one than its neighbours."""
        return (self.node_ae, self.study_instance_uid, str(self.revision), *self.series_instance_uids, self.pipeline, self.model_digest)

    @property
    def id(self) -> str:
        """A short stable identifier, derived from the natural key."""
        return str(derive_uuid("job", *self.key))

    def derive_uid(self, kind: str, *more: str) -> str:
        """Derive the UID of something that this job makes, ``derive_uid("SEG", "series")`` for example."""
        return derive_uid(*self.key, kind, *more)
