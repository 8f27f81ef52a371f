"""Is a study complete? By quiet time, and because no association that brought something of it is still open.

There is no timer in memory: everything that is judged by is in the ledger, so nothing is lost with a process, and any number of
listeners may sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from node.core.errors import StorageError
from node.core.job import Job, Priority
from node.core.study import Evidence, Instance, Study
from node.intake.presence import Presence
from node.intake.route import NotTaken, Routing, route
from node.ledger import instances, jobs, studies
from node.ledger.engine import Ledger, Transaction
from node.spool.local import LocalSpool
from pipelines.catalog import Catalog

log = structlog.get_logger(__name__)


class Assembler:
    """Sweeps the open studies.

    Parameters
    ----------
    node_ae : str
        Our AE title, part of every job's identity.
    enabled : sequence of str
        The pipelines that are asked, in this order.
    quiet_s : float
        How long nothing must have come.
    reprocess : bool
        Whether a revision that a late instance opened is processed, or only recorded.
    dispatch : callable
        Enters a ticket into the work engine in the transaction that completes the study.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: LocalSpool,
        presence: Presence,
        catalog: Catalog,
        dispatch: jobs.Dispatch,
        *,
        node_ae: str,
        enabled: Sequence[str],
        quiet_s: float,
        reprocess: bool,
    ) -> None:
        self._ledger, self._spool, self._presence, self._catalog, self._dispatch = ledger, spool, presence, catalog, dispatch
        self._node_ae, self._enabled, self._quiet_s, self._reprocess = node_ae, tuple(enabled), quiet_s, reprocess

    def run(self, stop: threading.Event, sweep_s: float) -> None:
        """Sweep until ``stop`` is set."""
        while not stop.wait(sweep_s):
            try:
                self.sweep()
            except StorageError as error:
                log.warning("sweep.postponed", code=error.full_code, sentence=error.sentence)

    def sweep(self) -> int:
        """Complete every study whose time has come; return how many."""
        self._hold_open()
        with self._ledger.reading() as tx:
            candidates = studies.quiet(tx, self._quiet_s)
        return sum(self._complete(study) for study in candidates)

    def force(self, study_instance_uid: str, who: str) -> bool:
        """Complete one study now, because an operator asked; False when it is not open, or something came at this very moment."""
        with self._ledger.reading() as tx:
            study = studies.find_open(tx, study_instance_uid)
        return study is not None and self._complete(study, rule=f"operator {who}")

    def _hold_open(self) -> None:
        held = self._presence.studies()
        if held:
            with self._ledger.beating() as tx:
                studies.hold_open(tx, held)

    def _complete(self, study: Study, rule: str = "quiet") -> bool:
        with self._ledger.reading() as tx:
            held = instances.of_study(tx, study.study_instance_uid, study.revision)
        evidence = Evidence(
            rule=rule,
            instances=len(held),
            series=len({instance.series_instance_uid for instance in held}),
            quiet_s=self._quiet_s if rule == "quiet" else 0.0,
            open_associations=0,
        )
        routing = self._route(study, held)
        completed = self._ledger.write(lambda tx: self._enter(tx, study, evidence, routing))
        if completed:
            log.info("study.completed", study_instance_uid=study.study_instance_uid, revision=study.revision, jobs=len(routing.taken))
        return completed

    def _route(self, study: Study, held: Sequence[Instance]) -> Routing:
        if study.revision > 1 and not self._reprocess:
            return Routing(taken=(), not_taken=())
        paths = {instance.sop_instance_uid: self._spool.path(instance.key) for instance in held}
        try:
            return route(held, paths, self._catalog, self._enabled)
        except Exception as error:  # the boundary: one study must neither hold up the others nor close the port
            log.exception("study.crashed", study_instance_uid=study.study_instance_uid, revision=study.revision)
            sentence = f"{type(error).__name__} while the series were judged; the log has the traceback."
            crashed = (NotTaken(pipeline=name, code="CRASHED.unexpected", sentence=sentence, series={}) for name in self._enabled)
            return Routing(taken=(), not_taken=tuple(crashed))

    def _enter(self, tx: Transaction, study: Study, evidence: Evidence, routing: Routing) -> bool:
        at = studies.complete(tx, study, evidence)
        if at is None:
            return False  # something came meanwhile; the next sweep looks again
        for no in routing.not_taken:
            studies.not_applicable(tx, study, no.pipeline, no.code, no.sentence, dict(no.series))
        for taken in routing.taken:
            job = Job(
                node_ae=self._node_ae,
                study_instance_uid=study.study_instance_uid,
                revision=study.revision,
                series_instance_uids=taken.series_instance_uids,
                pipeline=taken.pipeline,
                model_digest=taken.model_digest,
                input_sha256=taken.input_sha256,
                queued_at=at,
            )
            self._enqueue(tx, job)
        studies.close_if_ended(tx, study.study_instance_uid, study.revision)
        return True

    def _enqueue(self, tx: Transaction, job: Job) -> None:
        earlier = jobs.finished_on(tx, job)
        if earlier is not None:
            jobs.record_unchanged(tx, job, earlier)
            return
        jobs.enqueue(tx, job, Priority.ROUTINE, self._dispatch)
