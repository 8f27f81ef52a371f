"""Archives on real sockets, honest in what they are told to be: some lose what they said Success to, some are slow, some abort."""

import threading
import time
from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from tests.integration.deliver.post import Pacs

FIND, PUSH_MODEL, PUSH_MODEL_INSTANCE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


class Archive(Pacs):
    """Keeps what it is sent, answers questions with it, and commits itself to it.

    Parameters
    ----------
    loses : int
        Of so many objects it says Success and keeps nothing.
    slow_s : sequence of float
        How long it takes for each request, one after the other.
    finds_after : int
        So many questions are answered with nothing: its index comes behind its storage.
    aborts_after : int or None
        It aborts its first association when it was sent one more than so many.
    reports : bool
        Whether it reports on storage commitment, on the association on which it was asked.
    answers : sequence of str
        What it offers beside Storage: "query", "commitment".
    """

    def __init__(
        self,
        *,
        loses: int = 0,
        slow_s: tuple[float, ...] = (),
        finds_after: int = 0,
        aborts_after: int | None = None,
        reports: bool = True,
        fails_with: int = 0x0112,
        answers: tuple[str, ...] = ("query", "commitment"),
        without: str = "",
    ) -> None:
        super().__init__(without=without)
        self.held: dict[str, int] = {}
        self.asked: list[str] = []
        self._loses, self._slow_s, self._finds_after = loses, list(slow_s), finds_after
        self._aborts_after, self._reports, self._fails_with = aborts_after, reports, fails_with
        self._reporting: list[threading.Thread] = []
        if "query" in answers:
            self._ae.add_supported_context(FIND)
        if "commitment" in answers:
            self._ae.add_supported_context(PUSH_MODEL)

    def handlers(self) -> list[tuple[evt.EventType, Callable]]:
        return [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find), (evt.EVT_N_ACTION, self._commit)]

    def __exit__(self, *_: object) -> None:
        for thread in self._reporting:
            thread.join(10)
        super().__exit__()

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if self._aborts_after is not None and len(self.requests) >= self._aborts_after:
            self._aborts_after = None
            event.assoc.abort()
            return 0x0000
        self.requests.append(uid)
        if self._slow_s:
            time.sleep(self._slow_s.pop(0))
        if self._loses > 0:
            self._loses -= 1
        else:
            self.held[uid] = self.held.get(uid, 0) + 1
        return 0x0000

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        uid = str(event.identifier.SOPInstanceUID)
        self.asked.append(uid)
        if len(self.asked) > self._finds_after and uid in self.held:
            yield 0xFF00, event.identifier

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        self.asked += [str(item.ReferencedSOPInstanceUID) for item in event.action_information.ReferencedSOPSequence]
        if self._reports:
            told = self._report_on(event.action_information)
            self._reporting.append(threading.Thread(target=_report, args=(event.assoc, told)))
            self._reporting[-1].start()
        return 0x0000, None

    def _report_on(self, asked: Dataset) -> Dataset:
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        told.ReferencedSOPSequence = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID in self.held]
        failed = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID not in self.held]
        for item in failed:
            item.FailureReason = self._fails_with
        if failed:
            told.FailedSOPSequence = failed
        return told


def _report(association: Association, told: Dataset) -> None:
    time.sleep(0.2)  # behind the answer to the request
    if association.is_established:
        association.send_n_event_report(told, 2 if "FailedSOPSequence" in told else 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
