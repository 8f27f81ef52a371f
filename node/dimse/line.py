"""Asking back on an association that somebody else has requested (PS3.7 section 10.1.1), while it goes on."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from typing import Any, TypeAlias

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.pdu_primitives import P_DATA

from node.core.errors import PeerUnavailable

#: Encodes a request for an association, a context ID and a message ID.
MakeFragments: TypeAlias = Callable[[Association, int, int], Sequence[P_DATA]]


class Line:
    """An association with a requester, as long as it is open.

    pynetdicom's own `send_n_event_report` takes whatever message comes next for the response, and would lose the request of a requester
    that goes on meanwhile. Here the response is recognised as it passes, and everything else goes its usual way.

    Parameters
    ----------
    association_id : str
        What we call it.
    context_id : int
        The presentation context of the service.
    """

    def __init__(self, association: Association, association_id: str, context_id: int) -> None:
        self.id = association_id
        self._association, self._context_id = association, context_id
        self._numbers = itertools.cycle(range(1, 0x10000))
        self._waiting: dict[int, Future[int | None]] = {}
        self._changed = threading.Condition()
        self._unanswered = 0
        self._is_open = True
        self._send_otherwise = association.dimse.send_msg
        self._act_otherwise = association.dul.state_machine.do_action
        association.dimse.send_msg = self._send_whole  # type: ignore[method-assign]
        association.dul.state_machine.do_action = self._act_in_time  # type: ignore[method-assign]

    def expect_answer(self) -> None:
        """A request came; until it is answered we ask for nothing."""
        with self._changed:
            self._unanswered += 1

    def send(self, fragments_of: MakeFragments, answer_s: float) -> int | None:
        """Send a request of ours and wait for the status of its response.

        Parameters
        ----------
        fragments_of : callable
            Encodes the request for the association, its presentation context and a message ID.

        Returns
        -------
        int or None
            None when the association has ended.

        Raises
        ------
        PeerUnavailable
            If no response came.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not (self._is_open and self._unanswered), answer_s) or not self._post(fragments_of):
                return None
            number, answer = next(reversed(self._waiting.items()))
        try:
            return answer.result(answer_s)
        except NotYet as error:
            raise PeerUnavailable("The requester did not answer on its own association.", reason="no_answer") from error
        finally:
            self._waiting.pop(number, None)

    def answered(self, number: int, status: int) -> None:
        """A response came."""
        if (answer := self._waiting.get(number)) and not answer.done():
            answer.set_result(status)

    def close(self) -> None:
        """The connection is closed; nobody will answer any more."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_result(None)

    def _post(self, fragments_of: MakeFragments) -> bool:
        """Hand a whole request to the reactor; False when the association has ended, or is about to.

        All at once: neither a response of the association's other thread nor the fast path, which answers when there is nothing to send,
        may come between the fragments of a message (PS3.7 section 6.3.1).
        """
        association = self._association
        if not (self._is_open and association.is_established):
            return False
        number = next(self._numbers)
        fragments = fragments_of(association, self._context_id, number)
        outgoing = association.dul.to_provider_queue
        with outgoing.mutex:
            if association.dul.state_machine.current_state != "Sta6" or not all(isinstance(one, P_DATA) for one in outgoing.queue):
                return False
            self._waiting[number] = Future()
            outgoing.queue.extend(fragments)
        return True

    def _send_whole(self, primitive: Any, context_id: int) -> None:
        """Send a response, not between the fragments of a request of ours."""
        with self._changed:
            self._send_otherwise(primitive, context_id)
            if isinstance(primitive, N_ACTION):
                self._unanswered -= 1
                self._changed.notify_all()

    def _act_in_time(self, event: str) -> None:
        """Drop what was to be sent when the association ended in the same moment; pynetdicom's reactor would die of it."""
        machine = self._association.dul.state_machine
        if event == "Evt9" and machine.current_state not in ("Sta6", "Sta8"):
            with suppress(queue.Empty):
                self._association.dul.to_provider_queue.get(block=False)
            return
        self._act_otherwise(event)
