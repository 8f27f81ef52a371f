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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import ThreadedAssociationServer

from node.core.errors import StorageError
from node.core.study import Arrival, Peer
from node.dimse.command import StoreRequest
from node.dimse.contexts import support_storage
from node.dimse.door import Door, judge
from node.dimse.receive import FastPath, Limits, Reception
from node.dimse.status import PROCESSING_FAILURE
from node.dimse.tls import names_of

log = structlog.get_logger(__name__)


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


@dataclass(slots=True)
class _Visit:
    """One association, from its request to its end."""

    id: str
    peer: Peer
    instances: int = 0
    how: str = "lost"


class _Port(ThreadedAssociationServer):
    """A port: one of its own, or one that was opened before and is shared with other listeners.

    Parameters
    ----------
    inherited : socket, optional
        Listens already; whoever of the listeners is free takes the next connection from it.
    """

    request_queue_size = 128

    def __init__(self, *arguments: Any, inherited: socket.socket | None, **options: Any) -> None:
        self._inherited = inherited
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; its TLS handshake is left to its own thread, where a slow peer holds up nobody else."""
        connection, address = self.socket.accept()  # type: ignore[union-attr]
        connection.setblocking(True)
        if self.ssl_context is None:
            return connection, address
        return self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def server_bind(self) -> None:
        """Take the inherited socket, or bind one."""
        if self._inherited is None:
            super().server_bind()
            return
        if self.socket is not None:
            self.socket.close()
        self.socket = self._inherited
        self.socket.setblocking(False)  # another may have been faster
        self.server_address = self.socket.getsockname()


class _Counted:
    """A reception at the boundary: whatever happens in it, the sender must not hear Success."""

    def __init__(self, reception: Reception, visit: _Visit, sop_instance_uid: str) -> None:
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
    """

    def __init__(self, door: Door, station: Station, port: socket.socket | None = None) -> None:
        self._door, self._station, self._port = door, station, port
        self._visits: dict[Association, _Visit] = {}
        self._ae = AE(door.ae_title)
        self._counting = threading.Lock()
        self._ae.maximum_associations = sys.maxsize  # the door counts, and says why
        self._ae.maximum_pdu_size = door.max_pdu
        self._ae.network_timeout = door.idle_s
        self._ae.dimse_timeout = door.idle_s
        self._ae.acse_timeout = min(30.0, door.idle_s)
        support_storage(self._ae, unknown=door.unknown_storage)

    def start(self) -> None:
        """Open the port; when this returns, senders are answered.

        Raises
        ------
        StorageError
            If the port cannot be had.
        """
        handlers: list[tuple[evt.EventType, Callable[[evt.Event], object]]] = [
            (evt.EVT_CONN_OPEN, self._on_opened),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        address = (self._door.host, self._door.port)
        kind: Any = functools.partial(_Port, inherited=self._port)
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
            if (connection := _connection(association)) is not None:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
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
        # pynetdicom looks at the clock between PDUs only; without this a peer that falls silent within one would never be missed.
        if (connection := _connection(event.assoc)) is not None:
            connection.settimeout(self._door.idle_s)

    def _on_requested(self, event: evt.Event) -> None:
        association, request = event.assoc, event.assoc.requestor.primitive
        called = str(request.called_ae_title).strip() if request else ""
        calling = str(request.calling_ae_title).strip() if request else ""
        peer = Peer(calling_ae=calling, called_ae=called, address=association.requestor.address)
        visit = _Visit(id=str(uuid.uuid4()), peer=peer)
        with self._counting:
            rejection = judge(self._door, peer, _certificate_names(association), [other.peer for other in self._visits.values()])
            if rejection is None:
                self._visits[association] = visit
        if rejection is not None:
            association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
            self._tell(lambda: self._station.reject(visit.id, peer, rejection.reason))
            association.kill()

    def _on_accepted(self, event: evt.Event) -> None:
        visit = self._visits[event.assoc]
        self._tell(lambda: self._station.open(visit.id, visit.peer))

    def _on_established(self, event: evt.Event) -> None:
        _abort_what_cannot_be_read(event.assoc)
        visit = self._visits.get(event.assoc)
        if visit is not None and self._door.fast:
            limits = Limits(silence_s=self._door.idle_s, slowest=self._door.slowest, largest=self._door.largest)
            FastPath(event.assoc, limits, lambda request, syntax: self._begin(visit, request, syntax)).install()

    def _begin(self, visit: _Visit, request: StoreRequest, syntax: str) -> Reception:
        arrival = Arrival(
            peer=visit.peer,
            association_id=visit.id,
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=syntax,
        )
        return _Counted(self._station.begin(arrival), visit, arrival.sop_instance_uid)

    def _on_store(self, event: evt.Event) -> int:
        """What the fast path does not cover comes here, with its data set in memory."""
        visit = self._visits.get(event.assoc)
        if visit is None:
            return PROCESSING_FAILURE  # the connection broke behind the request: nobody is there to be answered
        asked = cast(C_STORE, event.request)
        request = StoreRequest(
            message_id=b"", sop_class_uid=str(asked.AffectedSOPClassUID or ""), sop_instance_uid=str(asked.AffectedSOPInstanceUID or "")
        )
        reception = self._begin(visit, request, str(event.context.transfer_syntax))
        reception.write(memoryview(asked.DataSet.getvalue() if asked.DataSet else b""))
        return reception.finish()

    def _on_released(self, event: evt.Event) -> None:
        self._end(event.assoc, "released")

    def _on_pdu(self, event: evt.Event) -> None:
        # The connection is closed before pynetdicom says EVT_ABORTED of a peer's abort.
        if isinstance(event.pdu, A_ABORT_RQ):
            self._end(event.assoc, "aborted")

    def _on_aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, "aborted")

    def _end(self, association: Association, how: str) -> None:
        if visit := self._visits.get(association):
            visit.how = how

    def _on_closed(self, event: evt.Event) -> None:
        visit = self._visits.pop(event.assoc, None)
        if visit is None:
            # It went without a word, as a health check does: pynetdicom would wait for its request until the time-out, and keep the place.
            cast(Any, event.assoc.dul.to_user_queue).put(None)
        else:
            self._tell(lambda: self._station.close(visit.id, visit.peer, visit.how, visit.instances))

    def _tell(self, note: Callable[[], None]) -> None:
        """Write down what became of an association; the association itself does not depend on it."""
        try:
            note()
        except StorageError as error:
            log.warning("association.not_recorded", code=error.full_code, sentence=error.sentence)


def _abort_what_cannot_be_read(association: Association) -> None:
    """Have a command set that pynetdicom 3.0.4 cannot decode end the association; by itself it ends pynetdicom's thread only."""
    receive = association.dimse.receive_primitive

    def receive_or_abort(primitive: P_DATA) -> None:
        try:
            receive(primitive)
        except Exception as error:  # the boundary: anything can be in there
            log.warning("association.garbled", error=type(error).__name__)
            association.dul.event_queue.put("Evt19")  # invalid PDU (PS3.8 section 9.2.2)

    association.dimse.receive_primitive = receive_or_abort  # type: ignore[method-assign]


def _connection(association: Association) -> socket.socket | None:
    transport = association.dul.socket
    return transport.socket if transport is not None else None


def _certificate_names(association: Association) -> frozenset[str]:
    connection = _connection(association)
    return names_of(connection.getpeercert()) if isinstance(connection, ssl.SSLSocket) else frozenset()
