"""The worker's station: the files of a job go to the device, what comes back goes into the spool and the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.core.errors import CodedError, NotEnoughDisk, StorageError
from node.core.job import Work
from node.core.result import EncodedObject, Product, StoredObject
from node.core.study import Instance
from node.ledger import instances, jobs, outbox
from node.ledger.engine import Ledger, Transaction
from node.spool.draft import Draft
from node.spool.local import LocalSpool
from node.work.device import Device
from node.work.loop import Outcome


class Inference:
    """Does jobs.

    Parameters
    ----------
    ask : callable
        Makes the request for the device of a job and its files, and says how many seconds it may take.
    destinations : sequence of str
        Who is owed the results.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: LocalSpool,
        device: Device[Any, Product],
        ask: Callable[[Work, Sequence[Path]], tuple[Any, float]],
        destinations: Sequence[str],
        dispatch: jobs.Dispatch,
    ) -> None:
        self._ledger, self._spool, self._device, self._ask = ledger, spool, device, ask
        self._destinations, self._dispatch = tuple(destinations), dispatch

    def do(self, work: Work) -> Outcome:
        """Run one job; see ``node.process.run_job`` for what it may raise."""
        asked, seconds = self._ask(work, self._files(work))
        product = self._device.run(work.id, asked, seconds)
        stored, drafts = self._store(work, product.objects)

        def settle(tx: Transaction) -> None:
            outbox.owe(tx, work, stored, self._destinations, self._dispatch)

        def settled() -> None:
            for draft in drafts:
                draft.settle()

        def dropped() -> None:
            for draft in drafts:
                draft.withdraw()

        return Outcome(settle=settle, settled=settled, dropped=dropped, summary=product.summary)

    def give_up(self, _tx: Transaction, _work: Work, _error: CodedError) -> None:
        """Nothing is owed to anyone for a job that made nothing."""

    def _files(self, work: Work) -> list[Path]:
        job = work.job
        with self._ledger.reading() as tx:
            members = instances.of_series(tx, list(job.series_instance_uids), job.study_instance_uid, job.revision)
        for member in members:
            self._check(member)
        return [self._spool.path(member.key) for member in members]

    def _check(self, member: Instance) -> None:
        """Compare what lies in the spool with what was accepted."""
        try:
            meta = self._spool.path(member.key).stat().st_size - member.size
            intact = meta > 0 and self._spool.sha256(member.key, skip=meta) == member.sha256
        except OSError as error:
            raise StorageError(f"An instance cannot be read from the spool ({error.strerror}).", reason="spool") from error
        if not intact:
            raise StorageError("An instance in the spool is not what was accepted; restore the spool.", reason="digest")

    def _store(self, work: Work, objects: Sequence[EncodedObject]) -> tuple[list[StoredObject], list[Draft]]:
        """Write the objects under names that only this hand-over of the job uses, so that a late twin can never touch them."""
        stored: list[StoredObject] = []
        drafts: list[Draft] = []
        for made in objects:
            key = f"results/{work.job_id}/{work.dispatch}/{made.kind}-{made.sop_instance_uid}.dcm"
            try:
                drafts.append(self._spool.put_atomic(key, made.content))
            except NotEnoughDisk as error:
                for draft in drafts:
                    draft.withdraw()
                raise StorageError(error.sentence, reason="spool") from error
            stored.append(
                StoredObject(
                    kind=made.kind,
                    sop_class_uid=made.sop_class_uid,
                    sop_instance_uid=made.sop_instance_uid,
                    series_instance_uid=made.series_instance_uid,
                    key=key,
                    sha256=self._spool.sha256(key),
                )
            )
        return stored, drafts
