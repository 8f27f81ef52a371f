"""A requester of storage commitment, on pynetdicom: it stores, asks, and hears the report here or there."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF

from node.dimse.pause import steady
from tests.peers import HOST

PUSH_MODEL, PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One N-EVENT-REPORT as it came in."""

    where: str  # "same" association, or "new"
    event_type: int
    transaction_uid: str
    committed: list[tuple[str, str]]
    failed: dict[str, int]
    calling_ae: str
    called_ae: str
    roles: list[tuple[str, bool, bool]]


class Requester:
    """An AE that asks, and listens for reports on a port.

    Parameters
    ----------
    statuses : callable
        What a report is answered: called with "same" or "new".
    """

    def __init__(self, node_port: int, ae_title: str, port: int, statuses: Callable[[str], int] = lambda _where: 0) -> None:
        self.ae_title, self.port, self._node_port, self._statuses = ae_title, port, node_port, statuses
        self.reports: queue.Queue[Heard] = queue.Queue()
        self._unanswered: queue.SimpleQueue[Heard] = queue.SimpleQueue()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Be there for reports on new associations."""
        ae = AE(self.ae_title)
        ae.require_called_aet = True
        ae.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        server = ae.start_server((HOST, self.port), block=False, evt_handlers=self._handlers("new"))
        try:
            yield
        finally:
            server.shutdown()

    @contextmanager
    def association(self, *, max_pdu: int = 16382) -> Iterator[Association]:
        """An association with the node; it is released at the end if it is still open, and aborted when the test has failed."""
        ae = AE(self.ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        contexts = [build_context(name) for name in (PUSH_MODEL, VERIFICATION, CT, MR)]
        association = ae.associate(HOST, self._node_port, contexts, "RADNODE", max_pdu=max_pdu, evt_handlers=self._handlers("same"))
        assert association.is_established
        steady(association)
        try:
            yield association
        except BaseException:
            association.abort()  # releasing may wait for what the test has just waited for in vain
            raise
        if association.is_established:
            association.release()

    def hear(self, seconds: float = 15) -> Heard:
        """The next report; its answer has left, so that the association may be released."""
        return self.reports.get(timeout=seconds)

    def _handlers(self, where: str) -> list[evt.EventHandlerType]:
        return [(evt.EVT_N_EVENT_REPORT, self._on_report, [where]), (evt.EVT_PDU_SENT, self._on_sent)]

    def _on_sent(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF) and not self._unanswered.empty():
            self.reports.put(self._unanswered.get())

    def _on_report(self, event: evt.Event, where: str) -> tuple[int, None]:
        information, requestor = event.event_information, event.assoc.requestor
        heard = Heard(
            where=where,
            event_type=event.event_type,
            transaction_uid=information.TransactionUID,
            committed=[_pair(item) for item in information.get("ReferencedSOPSequence", [])],
            failed={item.ReferencedSOPInstanceUID: item.FailureReason for item in information.get("FailedSOPSequence", [])},
            calling_ae=requestor.ae_title,
            called_ae=requestor.primitive.called_ae_title,
            roles=[(item.sop_class_uid, item.scu_role, item.scp_role) for item in requestor.role_selection.values()],
        )
        status = self._statuses(where)
        if status == 0:
            self._unanswered.put(heard)
        return status, None


def _pair(item: Dataset) -> tuple[str, str]:
    return item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID


def information(pairs: Sequence[tuple[str, str]], transaction_uid: str = "") -> Dataset:
    """The action information of a request."""
    found = Dataset()
    found.TransactionUID = transaction_uid or generate_uid()
    found.ReferencedSOPSequence = []
    for sop_class, instance in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        found.ReferencedSOPSequence.append(item)
    return found


def ask(association: Association, pairs: Sequence[tuple[str, str]], transaction_uid: str = "") -> tuple[int, str]:
    """Ask for commitment; return the status and the transaction's UID."""
    asked = information(pairs, transaction_uid)
    answer, _ = association.send_n_action(asked, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    return int(answer.Status), str(asked.TransactionUID)


def make_ct(source: Path) -> Dataset:
    """A CT instance of a study of its own."""
    dataset = dcmread(source)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "OT"  # nothing that a pipeline takes
    return dataset
