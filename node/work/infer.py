"""The worker's station: the files of a job go to the device, what comes back goes into the spool and the outbox."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from node.core.errors import CodedError, NotEnoughDisk, Purged, StorageError
from node.core.job import Work
from node.core.memory import Need
from node.core.result import EncodedObject, Product, StoredObject
from node.core.study import Instance
from node.ledger import devices, instances, jobs, outbox, purges
from node.ledger.engine import Ledger, Transaction
from node.spool.draft import Draft
from node.spool.spool import Spool
from node.work.device import Device
from node.work.loop import Outcome

#: The files of a job: Series Instance UID -> those of its instances.
Files = Mapping[str, Sequence[Path]]


class Inference:
    """Does jobs.

    Parameters
    ----------
    ask : callable
        Makes the request for the device of a job and its files, and says how many seconds it may take.
    destinations : sequence of str
        Who is owed the results.
    family : str
        ``cpu`` or ``cuda``: what memory a model needs is not the same on both.
    shadow : callable
        Gives for a pipeline the destinations that its results are kept from.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        device: Device[Any, Product],
        ask: Callable[[Work, Files], tuple[Any, float]],
        destinations: Sequence[str],
        dispatch: jobs.Dispatch,
        *,
        family: str,
        shadow: Callable[[str], Collection[str]] = lambda _pipeline: (),
    ) -> None:
        self._ledger, self._spool, self._device, self._ask = ledger, spool, device, ask
        self._family = family
        self._destinations, self._dispatch, self._shadow = tuple(destinations), dispatch, shadow

    def do(self, work: Work) -> Outcome:
        """Run one job; see ``node.process.run_job`` for what it may raise."""
        members = self._members(work)
        with self._holding(members) as paths:
            files: dict[str, list[Path]] = defaultdict(list)
            for member, path in zip(members, paths, strict=True):
                files[member.series_instance_uid].append(path)
            asked, seconds = self._ask(work, files)
            ran = self._device.run(work.id, asked, seconds, work.job.model_digest)
        product, memory = ran.made, devices.written(Need(held=ran.held, peak=ran.peak), self._family)
        stored, drafts = self._store(work, product.objects)
        summary = {**product.summary, "memory": memory, "waited_s": round(ran.waited_s, 3)}

        def settle(tx: Transaction) -> None:
            outbox.owe(tx, work, stored, self._destinations, self._dispatch, self._shadow(work.job.pipeline))

        def settled() -> None:
            for draft in drafts:
                draft.settle()

        def dropped() -> None:
            for draft in drafts:
                draft.withdraw()

        return Outcome(settle=settle, settled=settled, dropped=dropped, summary=summary)

    def give_up(self, _tx: Transaction, _work: Work, _error: CodedError) -> None:
        """Nothing is owed to anyone for a job that made nothing."""

    def _members(self, work: Work) -> list[Instance]:
        job = work.job
        with self._ledger.reading() as tx:
            if purges.is_purged(tx, job.study_instance_uid):
                raise Purged("Instances of the study were purged ([retention]); send the whole study again.", reason="study")
            return instances.of_series(tx, list(job.series_instance_uids), job.study_instance_uid, job.revision)

    @contextmanager
    def _holding(self, members: Sequence[Instance]) -> Iterator[list[Path]]:
        """The files of a job on this host, fetched where they lie elsewhere, each compared with what was accepted."""
        with ExitStack() as stack:
            try:
                files = stack.enter_context(self._spool.holding(member.key for member in members))
                whole = all(_is_intact(path, member) for path, member in zip(files, members, strict=True))
            except OSError as error:
                raise StorageError(f"An instance cannot be read from the spool ({error.strerror}).", reason="spool") from error
            if not whole:
                raise StorageError("An instance in the spool is not what was accepted; restore the spool.", reason="digest")
            yield files

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


def _is_intact(path: Path, member: Instance) -> bool:
    with path.open("rb") as file:
        meta = path.stat().st_size - member.size
        file.seek(max(0, meta))
        return meta > 0 and hashlib.file_digest(file, "sha256").hexdigest() == member.sha256
