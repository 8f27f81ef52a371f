"""The listener: Verification and Storage SCP (PS3.4 Annexes A and B), on pynetdicom's association.

Three roles that are never mixed: pynetdicom speaks the protocol, the callables of ``Station`` decide, and this module starts, stops and
translates between them.
"""

from __future__ import annotations

import functools
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RQ

from node.core.certificate import names_of
from node.core.errors import StorageError
from node.core.study import Arrival, Peer
from node.dimse import negotiation
from node.dimse.command import StoreRequest
from node.dimse.contexts import storing, support_storage
from node.dimse.door import Door, judge
from node.dimse.guard import connection_of, guard, hang_up
from node.dimse.messages import Messages
from node.dimse.port import Port
from node.dimse.rate import Rates
from node.dimse.receive import Reader
from node.dimse.reception import Reception
from node.dimse.rest import let_rest
from node.dimse.source import Limits
from node.dimse.status import PROCESSING_FAILURE
from node.dimse.visit import Handler, Service, Visit

log = structlog.get_logger(__name__)

#: Some senders ignore the maximum length that we announce (PS3.8 Annex D.1), and the fast path does not mind; what is read as a whole has
#: an end somewhere. dcm4che's is at 16 MiB.
_PDU_TOLERANCE, _LEAST_PDU = 4, 1 << 20


class Station(Protocol):
    """What the listener needs from the station behind it."""

    def begin(self, arrival: Arrival) -> Reception:
        """Begin to take an instance."""

    def open(self, association_id: str, peer: Peer) -> None:
        """Note that an association was accepted."""

    def reject(self, association_id: str, peer: Peer, reason: str) -> None:
        """Note that an association was rejected."""

    def close(self, association_id: str, peer: Peer, how: str, instances: int) -> None:
        """Note that an association has ended."""


class _Counted:
    """A reception at the boundary: whatever happens in it, the sender must not hear Success."""

    def __init__(self, reception: Reception, visit: Visit, sop_instance_uid: str) -> None:
        self._reception, self._visit, self._uid = reception, visit, sop_instance_uid
        self.write, self.abandon = reception.write, reception.abandon

    def finish(self) -> int:
        try:
            status = self._reception.finish()
        except Exception:  # the boundary: a traceback for the log, the cautious answer for the sender
            log.exception("instance.crashed", association_id=self._visit.id, sop_instance_uid=self._uid)
            self._reception.abandon()
            return PROCESSING_FAILURE
        self._visit.instances += status == 0
        return status


class Listener:
    """One Storage SCP on one port.

    Parameters
    ----------
    door : Door
        Who may come in.
    station : Station
        Who answers.
    port : socket, optional
        Listens already, for several listeners; by default the door's port is opened.
    services : sequence of Service
        What is offered beside Verification and Storage.
    """

    def __init__(self, door: Door, station: Station, port: socket.socket | None = None, services: Sequence[Service] = ()) -> None:
        self._door, self._station, self._port, self._services = door, station, port, services
        self._visits: dict[Association, Visit] = {}
        self._readers: dict[Association, Reader] = {}
        self._rates = Rates(door.fastest)
        self._ae = AE(door.ae_title)
        self._counting = threading.Lock()
        self._ae.maximum_associations = sys.maxsize  # the door counts, and says why
        self._ae.maximum_pdu_size = door.max_pdu
        self._ae.network_timeout = door.idle_s
        self._ae.dimse_timeout = door.idle_s
        self._ae.acse_timeout = min(30.0, door.idle_s)
        self._limits = Limits(
            silence_s=door.idle_s,
            slowest=door.slowest,
            largest=door.largest,
            request_s=min(30.0, door.idle_s),
            longest_pdu=max(_LEAST_PDU, _PDU_TOLERANCE * door.max_pdu),
        )
        support_storage(self._ae, unknown=door.unknown_storage)
        for service in services:
            service.support(self._ae)

    def start(self) -> None:
        """Open the port; when this returns, senders are answered.

        Raises
        ------
        StorageError
            If the port cannot be had.
        """
        handlers: list[Handler] = [
            (evt.EVT_CONN_OPEN, self._on_opened),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_PDU_SENT, self._on_pdu),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_closed),
            *negotiation.handlers(),
            *(handler for service in self._services for handler in service.handlers(self._visits.get)),
        ]
        _config.LOG_HANDLER_LEVEL = "none"  # or every PDU is put into words that nobody reads; pynetdicom keeps it for the whole process
        address = (self._door.host, self._door.port)
        kind: Any = functools.partial(Port, inherited=self._port)
        try:
            server: Any = self._ae.make_server(address, evt_handlers=handlers, ssl_context=self._door.tls, server_class=kind)  # type: ignore[arg-type]
        except OSError as error:
            raise StorageError(f"Port {self._door.port} cannot be opened: {error.strerror}.", reason="port") from error
        self._ae._servers.append(server)  # noqa: SLF001 - as start_server does, which does not know how to share a port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="port", daemon=True).start()
        log.info("listener.opened", host=self._door.host, port=self._door.port, ae_title=self._door.ae_title)

    def stop(self) -> None:
        """Close the port and end what is open; an instance that was not answered yet was not accepted."""
        for association in self._ae.active_associations:
            # A peer that fell silent within a PDU would hold up the shutdown: its thread waits for the rest.
            hang_up(association, socket.SHUT_RD)
        with self._counting:
            readers = list(self._readers.values())
        for reader in readers:
            reader.source.stop()
        self._wait_for_strangers()
        self._ae.shutdown()

    def _wait_for_strangers(self) -> None:
        """Let connections that never asked for an association notice that they are over: pynetdicom cannot abort what has not begun."""
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline and set(self._ae.active_associations) - set(self._visits):
            time.sleep(0.02)

    def is_receiving(self) -> bool:
        """Whether any association is open."""
        return bool(self._ae.active_associations)

    def _on_opened(self, event: evt.Event) -> None:
        association, connection = event.assoc, connection_of(event.assoc)
        if connection is None:
            return
        reader = Reader(association, connection, self._limits)
        reader.install()
        wake = let_rest(association, connection)
        guard(association, lambda: self._stop_reading(association, wake), lambda: self._leave(association))
        with self._counting:
            strangers = [other for other, reading in self._readers.items() if other not in self._visits and not reading.is_dropped]
            self._readers[association] = reader
            if len(strangers) >= self._door.max_strangers:
                # Whoever has only connected and is longest in asking for an association makes room: senders ask at once.
                self._readers[strangers[0]].is_dropped = True
                hang_up(strangers[0])

    def _on_requested(self, event: evt.Event) -> None:
        association, request = event.assoc, event.assoc.requestor.primitive
        called = str(request.called_ae_title).strip() if request else ""
        calling = str(request.calling_ae_title).strip() if request else ""
        peer = Peer(calling_ae=calling, called_ae=called, address=association.requestor.address)
        visit = Visit(id=str(uuid.uuid4()), peer=peer)
        with self._counting:
            rejection = judge(self._door, peer, _certificate_names(association), [other.peer for other in self._visits.values()])
            if rejection is None:
                self._visits[association] = visit
        if rejection is not None:
            association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
            self._tell(lambda: self._station.reject(visit.id, peer, rejection.reason))
            association.kill()

    def _on_accepted(self, event: evt.Event) -> None:
        if (visit := self._visits.get(event.assoc)) is not None:
            self._tell(lambda: self._station.open(visit.id, visit.peer))

    def _on_established(self, event: evt.Event) -> None:
        association = event.assoc
        with self._counting:
            visit, reader = self._visits.get(association), self._readers.get(association)
            if visit is None or reader is None:
                return  # the connection broke behind the request
            reader.bucket = self._rates.enter(visit.peer)
        begin, contexts = functools.partial(self._begin, visit), storing(association._accepted_cx)  # noqa: SLF001
        reader.messages = Messages(association, reader.source, self._limits, contexts, begin)
        reader.messages.install()
        reader.serve(contexts, begin if self._door.fast else None)

    def _begin(self, visit: Visit, request: StoreRequest, syntax: str) -> Reception:
        arrival = Arrival(
            peer=visit.peer,
            association_id=visit.id,
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=syntax,
        )
        return _Counted(self._station.begin(arrival), visit, arrival.sop_instance_uid)

    def _on_pdu(self, event: evt.Event) -> None:
        # The connection may be closed before pynetdicom says EVT_RELEASED, and is before it says EVT_ABORTED, whoever aborts.
        if isinstance(event.pdu, A_ABORT_RQ):
            self._end(event.assoc, "aborted")
        elif isinstance(event.pdu, A_RELEASE_RQ):
            self._end(event.assoc, "released")

    def _on_aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, "aborted")

    def _end(self, association: Association, how: str) -> None:
        if visit := self._visits.get(association):
            visit.how = how

    def _on_closed(self, event: evt.Event) -> None:
        if event.assoc not in self._visits:
            # It went without a word, as a health check does: pynetdicom would wait for its request until the time-out, and keep the place.
            cast(Any, event.assoc.dul.to_user_queue).put(None)
        self._leave(event.assoc)

    def _stop_reading(self, association: Association, wake: Callable[[], None]) -> None:
        """The thread that reads has ended; what it had begun is taken back in this very thread."""
        with self._counting:
            reader = self._readers.pop(association, None)
        if reader is not None:
            reader.abandon()
            self._rates.leave(reader.bucket)
        wake()

    def _leave(self, association: Association) -> None:
        with self._counting:
            visit = self._visits.pop(association, None)
        if visit is not None:
            self._tell(lambda: self._station.close(visit.id, visit.peer, visit.how, visit.instances))

    def _tell(self, note: Callable[[], None]) -> None:
        """Write down what became of an association; the association itself does not depend on it."""
        try:
            note()
        except StorageError as error:
            log.warning("association.not_recorded", code=error.full_code, sentence=error.sentence)


def _certificate_names(association: Association) -> frozenset[str]:
    connection = connection_of(association)
    return names_of(connection.getpeercert()) if isinstance(connection, ssl.SSLSocket) else frozenset()
