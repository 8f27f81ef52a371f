"""The open studies, judged again and again by what is known of them (``completeness``), until each is complete.

There is no timer in memory: everything that counts is in the ledger, so nothing is lost with a process, and any number of
listeners may sweep.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import structlog

from node.core.errors import Discontinued, IdentityConflict, Purged, StorageError
from node.core.job import Job, Priority
from node.core.rules import RuleBook, Rules
from node.core.schedule import Urgency
from node.core.study import BY_OPERATOR, Evidence, Missing, Study
from node.intake.census import Census, ask_nobody
from node.intake.completeness import QuietTime, Wait, evidence_of, judge
from node.intake.look import Look, Observer, StepsOf
from node.intake.pace import Pace
from node.intake.presence import Presence
from node.intake.route import NotTaken, Routing, route
from node.intake.triage import Triage
from node.ledger import jobs, purges, quarantine, steps, studies
from node.ledger.engine import Ledger, Transaction
from node.spool.spool import Spool
from pipelines.catalog import Catalog

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: What a study always waits for needs no record of its own; only what comes on top of it does.
_USUAL = frozenset({"open_association", "quiet", "asking"})
_ROUTINE = Urgency(priority=Priority.ROUTINE, why="default")
#: How many open studies are looked at in one sweep; those that wait for something are cheap to look at again.
_MOST = 1000


class Assembler:
    """Sweeps the open studies.

    Parameters
    ----------
    node_ae : str
        Our AE title, part of every job's identity.
    book : RuleBook
        Which pipelines are asked, and what a study must have before, by the titles that it was sent to.
    reprocess : bool
        Whether a revision that a late instance opened is processed, or only recorded.
    dispatch : callable
        Enters a ticket into the work engine in the transaction that completes the study.
    settle_s : float
        How long all listeners take to say which studies they are still receiving.
    pace : Pace, optional
        Learns the quiet time of each sender.
    census : Census, optional
        Asks remote AEs how much a study holds.
    steps_of : callable, optional
        Gives the performed procedure steps of a study.
    triage : Triage, optional
        Gives each study its priority; every one is routine by default.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        presence: Presence,
        catalog: Catalog,
        dispatch: jobs.Dispatch,
        *,
        node_ae: str,
        book: RuleBook,
        reprocess: bool,
        settle_s: float = 3.0,
        pace: Pace | None = None,
        census: Census | None = None,
        steps_of: StepsOf = steps.of_study,
        triage: Triage | None = None,
    ) -> None:
        self._ledger, self._spool, self._presence, self._catalog, self._dispatch = ledger, spool, presence, catalog, dispatch
        self._node_ae, self._reprocess, self._settle_s = node_ae, reprocess, settle_s
        census = census or Census(ask_nobody)
        self._observer = Observer(ledger, spool, presence, book=book, pace=pace, census=census, steps_of=steps_of)
        self._triage = triage or Triage(ledger)
        self._told: dict[tuple[str, int], tuple[Missing, ...]] = {}
        self._held_at = 0.0

    def run(self, stop: threading.Event, sweep_s: float) -> None:
        """Sweep until ``stop`` is set."""
        while not stop.wait(sweep_s):
            try:
                self.sweep()
            except StorageError as error:
                log.warning("sweep.postponed", code=error.full_code, sentence=error.sentence)

    def sweep(self) -> int:
        """Complete every study whose time has come; return how many."""
        self._hold_open(self._presence.studies())
        with self._ledger.reading() as tx:
            now = jobs.clock(tx)
            candidates = studies.quiet(tx, min(self._observer.least_s, self._settle_s), most=_MOST)
            ahead = studies.ahead(tx)
        if ahead:
            log.warning("clock.stepped_back", studies=len(ahead))
            self._hold_open(ahead)
        self._observer.forget_but({study.study_instance_uid for study in candidates})
        waiting = {(study.study_instance_uid, study.revision) for study in candidates}
        self._told = {key: reasons for key, reasons in self._told.items() if key in waiting}
        return sum(self._sweep_one(study, now) for study in candidates)

    def _sweep_one(self, study: Study, now: datetime) -> bool:
        look = self._observer.look(study, now)
        completed = look is not None and self._judge(look)
        if completed:
            self._observer.forget(study.study_instance_uid)
        # A sweep may have a thousand studies to judge; meanwhile no other listener may think that nobody is sending.
        if time.monotonic() - self._held_at > self._settle_s / 3:
            self._hold_open(self._presence.studies())
        return completed

    def force(self, study_instance_uid: str, who: str) -> bool:
        """Complete one study now, because an operator asked; False when it is not open, or something came at this very moment.

        The operator overrules whatever would be waited for, and a procedure that was given up.
        """
        with self._ledger.reading() as tx:
            study, now = studies.find_open(tx, study_instance_uid), jobs.clock(tx)
        look = self._observer.look(study, now, closely=True) if study is not None else None
        if look is None:
            return False
        evidence = evidence_of(look.known, look.rules, QuietTime(seconds=0.0), BY_OPERATOR + who)
        return self._complete(look, evidence)

    def _hold_open(self, study_instance_uids: Collection[str]) -> None:
        self._held_at = time.monotonic()
        if study_instance_uids:
            with self._ledger.beating() as tx:
                studies.hold_open(tx, study_instance_uids)

    def _judge(self, look: Look) -> bool:
        verdict = judge(look.known, look.rules, look.quiet, self._settle_s)
        if not isinstance(verdict, Wait) and verdict.evidence.rule in ("quiet", "patience"):
            # Only now, for it costs most: nothing else is waited for any more.
            gaps = self._guarded(look.study, lambda: self._observer.find_gaps(look, self._modalities(look.rules)), lambda _error: ())
            verdict = judge(replace(look.known, gaps=gaps), look.rules, look.quiet, self._settle_s)
        if isinstance(verdict, Wait):
            self._tell(look.study, tuple(reason for reason in verdict.reasons if reason.kind not in _USUAL))
            return False
        return self._complete(look, verdict.evidence)

    def _modalities(self, rules: Rules) -> frozenset[str]:
        """What the pipelines could take a series of: a gap in any other matters to nobody."""
        available = (self._catalog.available[name] for name in rules.pipelines if name in self._catalog.available)
        return frozenset(modality for entry in available for given in entry.pipeline.inputs for modality in given.modality)

    def _tell(self, study: Study, reasons: tuple[Missing, ...]) -> None:
        key = (study.study_instance_uid, study.revision)
        if reasons and self._told.get(key) != reasons:
            self._ledger.write(lambda tx: studies.record_waiting(tx, study, reasons))
            self._told[key] = reasons

    def _complete(self, look: Look, evidence: Evidence) -> bool:
        study = look.study
        routing = self._route(look, evidence)
        urgency = self._urgency(look) if routing.taken else _ROUTINE
        completed = self._ledger.write(lambda tx: self._enter(tx, look, evidence, routing, urgency))
        if completed:
            log.info("study.completed", study_instance_uid=study.study_instance_uid, revision=study.revision, jobs=len(routing.taken))
        return completed

    def _urgency(self, look: Look) -> Urgency:
        study, paths = look.study, {instance.sop_instance_uid: self._spool.path(instance.key) for instance in look.held}
        return self._guarded(
            study,
            lambda: self._triage.of(study.study_instance_uid, study.revision, look.held, paths),
            lambda _error: Urgency(priority=Priority.ROUTINE, why="its headers could not be read"),
        )

    def _route(self, look: Look, evidence: Evidence) -> Routing:
        study, enabled = look.study, look.rules.pipelines
        if study.revision > 1 and study.instances and not self._reprocess:  # one without instances of its own was opened by an operator
            return Routing(taken=(), not_taken=())
        if evidence.rule == "discontinued":
            given_up = Discontinued("The modality has discontinued the procedure.", reason="by_modality")
            return _nothing_for(enabled, given_up.full_code, given_up.sentence)

        def close_as_crashed(error: Exception) -> Routing:
            sentence = f"{type(error).__name__} while the series were judged; the log has the traceback."
            return _nothing_for(enabled, "CRASHED.unexpected", sentence)

        with self._ledger.reading() as tx:
            is_purged = purges.is_purged(tx, study.study_instance_uid)
        if is_purged:
            purged = Purged("Instances of the study were purged ([retention]); send the whole study again.", reason="study")
            return _nothing_for(enabled, purged.full_code, purged.sentence)
        with self._spool.holding(instance.key for instance in look.held) as files:
            paths = {instance.sop_instance_uid: path for instance, path in zip(look.held, files, strict=True)}
            return self._guarded(study, lambda: route(look.held, paths, self._catalog, enabled), close_as_crashed)

    def _guarded(self, study: Study, do: Callable[[], T], otherwise: Callable[[Exception], T]) -> T:
        """Do what reads the files of a study, which may hold anything."""
        try:
            return do()
        except StorageError:
            raise  # nothing is wrong with the study; the next sweep looks again
        except Exception as error:  # the boundary: one study must neither hold up the others nor close the port
            log.exception("study.crashed", study_instance_uid=study.study_instance_uid, revision=study.revision)
            return otherwise(error)

    def _enter(self, tx: Transaction, look: Look, evidence: Evidence, routing: Routing, urgency: Urgency) -> bool:
        study = look.study
        at = studies.complete(tx, study, evidence)
        if at is None:
            return False  # something came meanwhile; the next sweep looks again
        if routing != Routing(taken=(), not_taken=()) and quarantine.is_blocked(tx, study.study_instance_uid):
            mixed = IdentityConflict("The study has instances of another patient in quarantine; radnode quarantine tells.", reason="mixed")
            routing = _nothing_for(look.rules.pipelines, mixed.full_code, mixed.sentence)
        for no in routing.not_taken:
            studies.not_applicable(tx, study, no.pipeline, no.code, no.sentence, dict(no.series))
        for taken in routing.taken:
            job = Job(
                node_ae=self._node_ae,
                study_instance_uid=study.study_instance_uid,
                revision=study.revision,
                series_instance_uids=taken.series_instance_uids,
                stacks=taken.stacks,
                pipeline=taken.pipeline,
                model_digest=taken.model_digest,
                input_sha256=taken.input_sha256,
                queued_at=at,
            )
            self._enqueue(tx, job, urgency)
        if not evidence.is_by_operator:
            steps.stop_work(tx, study.study_instance_uid, study.revision)
        studies.close_if_ended(tx, study.study_instance_uid, study.revision)
        return True

    def _enqueue(self, tx: Transaction, job: Job, urgency: Urgency) -> None:
        earlier = jobs.finished_on(tx, job)
        if earlier is not None:
            jobs.record_unchanged(tx, job, earlier)
            return
        jobs.enqueue(tx, job, urgency.priority, self._dispatch, why=urgency.why)


def _nothing_for(pipelines: Sequence[str], code: str, sentence: str) -> Routing:
    not_taken = (NotTaken(pipeline=name, code=code, sentence=sentence, series={}) for name in pipelines)
    return Routing(taken=(), not_taken=tuple(not_taken))
