"""A look at an open study: everything that its completeness is judged by, read once for as long as nothing comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TypeAlias

from node.core.errors import GeometryError, InputError
from node.core.rules import RuleBook, Rules, rules_of
from node.core.study import Asked, Instance, ProcedureStep, Study
from node.intake.census import Census
from node.intake.completeness import HeldSeries, Known, QuietTime
from node.intake.pace import Pace
from node.intake.presence import Presence
from node.ledger import instances, outbox
from node.ledger.engine import Ledger, Transaction
from node.spool.spool import Spool
from pipelines.damage import damage_refused
from pipelines.series import read_headers
from pipelines.stacking import stack

#: Gives the performed procedure steps of a study.
StepsOf: TypeAlias = Callable[[Transaction, str], Sequence[ProcedureStep]]

#: CT and MR Image Storage: one slice each, so that a gap between them can be seen.
_CLASSIC = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of a study, and what is asked of it."""

    study: Study
    rules: Rules
    quiet: QuietTime
    known: Known
    held: tuple[Instance, ...]


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What was read of a study, good as long as the study stays as it was."""

    study: Study
    rules: Rules
    calling_ae: frozenset[str]
    called_ae: tuple[str, ...]
    held: tuple[Instance, ...] | None = None
    series: tuple[HeldSeries, ...] = ()
    gaps: tuple[str, ...] | None = None


class Observer:
    """Looks at open studies.

    Parameters
    ----------
    book : RuleBook
        What is asked of a study.
    pace : Pace or None
        Learns the quiet time of each sender; None: it is as configured.
    census : Census
        Asks remote AEs.
    steps_of : callable
        Gives the performed procedure steps of a study.
    """

    def __init__(
        self, ledger: Ledger, spool: Spool, presence: Presence, *, book: RuleBook, pace: Pace | None, census: Census, steps_of: StepsOf
    ) -> None:
        self._ledger, self._spool, self._presence = ledger, spool, presence
        self._book, self._pace, self._census, self._steps_of = book, pace, census, steps_of
        self._memories: dict[str, _Memory] = {}

    @property
    def least_s(self) -> float:
        """For how long at least nothing must have come before a quiet time can be over."""
        return min(self._book.least_quiet_s, self._pace.least_s) if self._pace else self._book.least_quiet_s

    def forget_but(self, study_instance_uids: Collection[str]) -> None:
        """Keep what was read of these studies only."""
        self._memories = {uid: memory for uid, memory in self._memories.items() if uid in study_instance_uids}
        self._census.forget_but(study_instance_uids)

    def forget(self, study_instance_uid: str) -> None:
        """Keep nothing of a study: a thousand of them would be a thousand lists of instances."""
        self._memories.pop(study_instance_uid, None)

    def look(self, study: Study, now: datetime, *, closely: bool = False) -> Look | None:
        """Look at a study; None when it is not worth a judgement yet.

        Parameters
        ----------
        closely : bool
            Whatever may come of it, but without asking anyone: an operator waits.
        """
        quiet_for_s = (now - study.last_activity_at).total_seconds()
        with self._ledger.reading() as tx:
            memory = self._remember(tx, study)
            quiet = self._pace.of(tx, memory.calling_ae, memory.rules.quiet_s) if self._pace else QuietTime(seconds=memory.rules.quiet_s)
            steps = tuple(self._steps_of(tx, study.study_instance_uid))
            is_quiet = quiet_for_s >= quiet.seconds
            if not (closely or is_quiet or any(step.state == "COMPLETED" for step in steps)):
                return None
            if memory.held is None:
                memory.held = tuple(instances.of_study(tx, study.study_instance_uid, study.revision))
            asked = tuple(self._ask(tx, memory, int(quiet_for_s / quiet.seconds))) if is_quiet and not closely else ()
        memory.series = memory.series or tuple(self._describe(memory))
        known = Known(
            quiet_for_s=quiet_for_s,
            is_held_open=study.study_instance_uid in self._presence.studies(),
            called_ae=memory.called_ae,
            series=memory.series,
            sop_instance_uids=frozenset(instance.sop_instance_uid for instance in memory.held),
            steps=steps,
            asked=asked,
        )
        return Look(study=study, rules=memory.rules, quiet=quiet, known=known, held=memory.held)

    def find_gaps(self, look: Look, modalities: Collection[str]) -> tuple[str, ...]:
        """Say for each stack of single slices of these modalities where it has a gap; files are read once."""
        memory = self._memories.get(look.study.study_instance_uid)
        if memory is None or memory.study != look.study:
            return tuple(self._find_gaps(look.held, modalities))
        if memory.gaps is None:
            memory.gaps = tuple(self._find_gaps(look.held, modalities))
        return memory.gaps

    def _remember(self, tx: Transaction, study: Study) -> _Memory:
        memory = self._memories.get(study.study_instance_uid)
        if memory is None or memory.study != study:
            sources = instances.sources_of(tx, study.study_instance_uid, study.revision)
            called_ae = tuple(sorted({source.called_ae for source in sources}))
            memory = _Memory(
                study=study,
                rules=rules_of(self._book, called_ae),
                calling_ae=frozenset(source.calling_ae for source in sources),
                called_ae=called_ae,
            )
            self._memories[study.study_instance_uid] = memory
        return memory

    def _ask(self, tx: Transaction, memory: _Memory, turn: int) -> Iterator[Asked]:
        uid = memory.study.study_instance_uid
        for peer in memory.rules.ask:
            yield self._census.consult(peer, uid, memory.study, turn, outbox.stored_at(tx, peer, uid))

    def _describe(self, memory: _Memory) -> Iterator[HeldSeries]:
        patterned = {wish.modality for wish in memory.rules.expected if wish.description}
        for uid, members in _by_series(memory.held or ()):
            modality = members[0].modality
            description = self._description_of(members[0]) if modality in patterned else ""
            yield HeldSeries(series_instance_uid=uid, modality=modality, instances=len(members), description=description)

    def _description_of(self, instance: Instance) -> str:
        try:
            (header,) = read_headers([self._spool.path(instance.key)])
            with damage_refused():
                return str(header.get("SeriesDescription", ""))
        except InputError:
            return ""

    def _find_gaps(self, held: Sequence[Instance], modalities: Collection[str]) -> Iterator[str]:
        for uid, members in _by_series(held):
            if members[0].modality in modalities and all(member.sop_class_uid in _CLASSIC for member in members):
                try:
                    with self._spool.holding(member.key for member in members) as paths, damage_refused():
                        stack(read_headers(paths))
                except GeometryError as error:
                    if error.reason == "gap":
                        yield f"Series {uid}: {error.sentence}"
                except InputError:
                    continue  # damaged: no matter of waiting; the pipeline will say so


def _by_series(held: Sequence[Instance]) -> Iterator[tuple[str, list[Instance]]]:
    for uid, members in groupby(held, key=lambda instance: instance.series_instance_uid):
        yield uid, list(members)
