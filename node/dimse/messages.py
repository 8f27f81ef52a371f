"""Messages of whole PDUs: what the fast path does not take comes here from pynetdicom, fragment by fragment (PS3.7 section 6.3.1).

A C-STORE's data set goes on to the station as it comes and is answered here; any other message is left to pynetdicom, once its command
is complete and within bounds. pynetdicom 3.0.4 by itself collects without bounds, and a command set that it cannot decode ends its
thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from pynetdicom.pdu_primitives import P_DATA

from node.dimse.command import Command, StoreRequest, store_response
from node.dimse.source import Garbled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pynetdicom.association import Association

    from node.dimse.reception import Reception
    from node.dimse.source import Limits, Source

log = structlog.get_logger(__name__)

_COMMAND_FRAGMENT, _LAST_FRAGMENT = 0x01, 0x02
#: Many times what any command needs; only the identifier list of an N-GET could be long.
_MOST_COMMAND = 1 << 16
#: The data set of any other message: a storage commitment request for a hundred thousand instances.
_MOST_OTHER = 1 << 24


class Messages:
    """What an association receives by pynetdicom's own path.

    Parameters
    ----------
    contexts : mapping
        Those for storage: context ID -> transfer syntax UID.
    begin : callable
        Called with (request, transfer syntax UID) for each C-STORE; gives its Reception.
    """

    def __init__(
        self,
        association: Association,
        source: Source,
        limits: Limits,
        contexts: Mapping[int, str],
        begin: Callable[[StoreRequest, str], Reception],
    ) -> None:
        self._contexts = contexts
        self._association, self._source, self._limits, self._begin = association, source, limits, begin
        self._leave = association.dimse.receive_primitive
        self._command = bytearray()
        self._context_id = 0
        self._request: StoreRequest | None = None
        self._reception: Reception | None = None
        self._others_data_set = False
        self._size, self._most = 0, 0
        self._began, self._paused_s = 0.0, 0.0

    def install(self) -> None:
        """Stand between pynetdicom's state machine and its messages, for this association only."""
        self._association.dimse.receive_primitive = self._receive  # type: ignore[method-assign]

    def abandon(self) -> None:
        """The rest of what has begun will not come."""
        if self._reception is not None:
            self._reception.abandon()
            self._reception = None

    def _receive(self, primitive: P_DATA) -> None:
        try:
            fragments = primitive.presentation_data_value_list
            for number, (context_id, content) in enumerate(fragments, 1):
                self._take(context_id, content, is_end=number == len(fragments))
        except Exception as error:  # noqa: BLE001 - the boundary: pynetdicom decodes what is not ours, and anything can be in there
            log.warning("association.garbled", error=type(error).__name__, sentence=str(error) if isinstance(error, Garbled) else "")
            self.abandon()
            self._association.dul.event_queue.put("Evt19")  # invalid PDU (PS3.8 section 9.2.2)

    def _take(self, context_id: int, content: bytes, *, is_end: bool) -> None:
        """Take one fragment, the last of its PDU or not."""
        if not content:
            raise Garbled("a fragment without its message control header")
        control, is_last = content[0], bool(content[0] & _LAST_FRAGMENT)
        is_data_set = self._reception is not None or self._others_data_set
        if bool(control & _COMMAND_FRAGMENT) == is_data_set:
            raise Garbled("a command and a data set are mixed")
        if (is_data_set or self._command) and context_id != self._context_id:
            raise Garbled("a fragment does not fit its message")
        self._context_id = context_id
        if not is_data_set:
            self._command += memoryview(content)[1:]
            if len(self._command) > _MOST_COMMAND:
                raise Garbled("the command set is larger than is allowed")
            if is_last:
                command, self._command = bytes(self._command), bytearray()
                self._open(command)
            return
        self._count(len(content) - 1)
        if self._reception is None:
            self._pass_on(content)
            self._others_data_set = not is_last
            return
        self._reception.write(memoryview(content)[1:])
        if is_last and not is_end:
            raise Garbled("a PDU goes on behind the end of its message")
        if is_last:
            self._close(self._reception)

    def _open(self, encoded: bytes) -> None:
        """A command set is complete."""
        command = Command.parse(encoded)
        if command is None or self._context_id not in self._association._accepted_cx:  # noqa: SLF001
            raise Garbled("no command set, or one in a context that was not accepted")
        self._size, self._began, self._paused_s = 0, time.monotonic(), self._source.paused_s
        if not command.is_store_request and command.is_request and self._context_id in self._contexts:
            raise Garbled("another request than C-STORE in a context for storage")  # pynetdicom would take it for one
        if not command.is_store_request:
            self._most, self._others_data_set = _MOST_OTHER, command.has_data_set
            self._pass_on(bytes((_COMMAND_FRAGMENT | _LAST_FRAGMENT,)) + encoded)
            return
        self._request, self._most = StoreRequest.of(command), self._limits.largest
        if self._request is None or self._context_id not in self._contexts:
            raise Garbled("a C-STORE request without what it must have (PS3.7 section 9.3.1.1), or in a context for something else")
        self._reception = self._begin(self._request, self._contexts[self._context_id])

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise Garbled("the data set is larger than is allowed")
        self._source.check_pace(self._began, self._paused_s, self._size)

    def _close(self, reception: Reception) -> None:
        """A C-STORE's data set is complete: answer it, in the thread that sends everything else too."""
        assert self._request is not None
        self._reception = None
        status = reception.finish()
        if (transport := self._association.dul.socket) is not None and transport.socket is not None:
            transport.send(store_response(self._request, self._context_id, status))

    def _pass_on(self, content: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((self._context_id, content))
        self._leave(primitive)
