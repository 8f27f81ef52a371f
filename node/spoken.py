"""What the events of the audit log mean, in words for ``radnode history``, and those of the schedule with their details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.core.job import Priority

#: What the events of the walk mean, in the order in which a study passes them: number in the design's table, and words.
STEPS: Mapping[str, tuple[int, str]] = {
    "host.joined": (0, "a host uses this ledger for the first time"),
    "store.chosen": (0, "where the bytes of this ledger lie"),
    "association.accepted": (1, "association accepted"),
    "association.rejected": (1, "association rejected"),
    "instance.received": (5, "instance durable, row committed, Success answered"),
    "instance.duplicate": (5, "the same bytes again, counted"),
    "instance.conflict": (5, "other bytes under a UID that is held, kept as evidence"),
    "instance.restored": (5, "came again after it was purged, held again"),
    "source.purged": (16, "instances purged"),
    "result.purged": (16, "results purged, which were delivered"),
    "quarantine.purged": (16, "instances purged that were kept apart"),
    "instance.damaged": (5, "answered Success, and no longer whole on the disk: kept aside, to be sent again"),
    "instance.adopted": (5, "row rebuilt from the file after a crash"),
    "instance.quarantined": (5, "of another patient than its study, kept apart from it"),
    "instance.refused": (6, "instance refused"),
    "association.released": (6, "association released"),
    "association.aborted": (6, "association aborted"),
    "association.lost": (6, "association lost"),
    "step.created": (5, "a modality has begun a procedure step"),
    "step.updated": (5, "the modality says more of its step"),
    "step.completed": (5, "the modality has completed its step"),
    "step.discontinued": (5, "the modality has discontinued its step"),
    "step.refused": (5, "what a modality said of its step was refused"),
    "study.opened": (5, "study opened"),
    "study.reopened": (5, "a late instance opened a new revision"),
    "study.released": (7, "an operator has set aside what is of another patient"),
    "study.awaited": (7, "study waits on"),
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
    "delivery.committed": (15, "the destination has committed itself to it"),
    "delivery.found": (15, "the destination was asked and has it"),
    "delivery.lost": (15, "the destination does not have what it said Success to"),
    "delivery.unconfirmed": (15, "nothing but the destination's Success is known"),
    "circuit.opened": (13, "the destination is left alone for a while"),
    "circuit.probed": (13, "one parcel tries"),
    "circuit.closed": (13, "the destination is reached again"),
    "pledge.begun": (15, "storage commitment is asked for"),
    "pledge.asked": (15, "the destination has taken the request"),
    "pledge.expired": (15, "no report is waited for any longer"),
    "pledge.reported": (15, "the destination has reported"),
    "delivery.replayed": (13, "object taken up again"),
    "parcel.finished": (14, "parcel delivered"),
    "parcel.refused": (14, "parcel parked"),
    "parcel.failed": (14, "parcel parked"),
    "parcel.retried": (13, "parcel will be tried again"),
    "parcel.put_off": (13, "parcel goes on later"),
    "job.put_off": (9, "job goes on later"),
    "parcel.rescued": (13, "parcel taken from a courier that is gone"),
    "parcel.fenced": (14, "a late answer was dropped"),
    "parcel.replayed": (13, "parcel brought back by an operator"),
    "device.passed": (0, "a device was examined, and is in service"),
    "device.failed": (0, "a device was examined, and is out of service"),
    "model.unloaded": (0, "a model's process was ended"),
    "study.taken_up_again": (9, "study taken up again, because a job of it is replayed"),
    "study.processed": (14, "every job of the study has ended"),
    "commitment.requested": (15, "asked to answer for instances"),
    "commitment.repeated": (15, "asked for the same once more"),
    "commitment.refused": (15, "request for storage commitment refused"),
    "commitment.judged": (15, "judged whether the instances are safe"),
    "commitment.reported": (15, "the requester was told"),
    "commitment.postponed": (15, "the requester could not be told yet"),
    "commitment.failed": (15, "the requester could not be told, given up"),
    "query.answered": (0, "asked for by C-FIND"),
    "query.refused": (0, "a question was not answered"),
    "retrieve.finished": (0, "asked for by C-MOVE or C-GET, and sent"),
    "job.cancelled": (12, "job cancelled by an operator"),
    "job.prioritised": (8, "job given another priority by an operator"),
    "parcel.cancelled": (14, "parcel cancelled by an operator"),
    "parcel.prioritised": (13, "parcel given another priority by an operator"),
    "schedule.paused": (0, "an operator has stopped"),
    "schedule.resumed": (0, "an operator lets go on"),
    "schedule.drained": (0, "nothing runs any more of"),
    "delivery.withheld": (12, "kept in shadow mode, never sent"),
}


def say_queued(detail: Mapping[str, Any], _row: object) -> str:
    """What was queued, how urgent it is, and why."""
    return f"{detail['pipeline']} on series ...{detail['series'][0][-12:]}, {_level(detail['priority'])} ({detail.get('why') or 'default'})"


def _say_prioritised(detail: Mapping[str, Any], _row: object) -> str:
    return f"{_level(detail['was'])} to {_level(detail['priority'])}, says {detail['by']}"


def _say_scheduled(detail: Mapping[str, Any], _row: object) -> str:
    return f"{detail['what']}, says {detail['by']}{f': {why}' if (why := detail.get('why')) else ''}"


def _level(priority: int) -> str:
    return Priority(priority).name.lower() if priority in set(Priority) else str(priority)


SAYINGS: Mapping[tuple[str, str], Callable[[Mapping[str, Any], object], str]] = {
    ("job", "queued"): say_queued,
    **{(noun, "prioritised"): _say_prioritised for noun in ("job", "parcel")},
    **{("schedule", verb): _say_scheduled for verb in ("paused", "resumed", "drained")},
}
