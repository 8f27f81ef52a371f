"""Rest for the two threads of an association: pynetdicom 3.0.4 has each look for work a thousand times a second.

That is three hundredths of a core for an association that does nothing, and so a way to keep a node busy by idling. Here both sleep
until there is something to do, and look now and then nevertheless.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pynetdicom.association import Association

#: How long to sleep at most: whatever rings nobody is seen after this.
_NAP_S = 0.05


class Checkpoint(threading.Event):
    """What the association's thread waits at in every turn of its loop: until it may go on, and there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self._work = threading.Event()
        super().set()

    def ring(self) -> None:
        """There is something to do."""
        self._work.set()

    def set(self) -> None:
        """The thread may go on."""
        super().set()
        self._work.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for both."""
        while True:
            super().wait(timeout)
            self._work.wait(_NAP_S)
            self._work.clear()
            if timeout is not None or self.is_set():
                return self.is_set()


class Bell:
    """Wakes a thread that polls; it may be rung by any other, also when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake the thread, now or when it next sleeps."""
        with self._lock:  # the number of a file that was closed is soon that of another one, and this would be written into it
            if self.file >= 0:
                os.eventfd_write(self.file, 1)

    def hush(self) -> None:
        """It was heard."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.file)

    def close(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            os.close(self.file)
            self.file = -1


def let_rest(association: Association, connection: socket.socket) -> Callable[[], None]:
    """Have both threads sleep, before they are started; return what is to be called when the one that reads has ended."""
    dul, checkpoint, bell = association.dul, Checkpoint(), Bell()
    send, look = dul.send_pdu, dul._is_transport_event  # noqa: SLF001
    poll = select.poll()
    poll.register(bell.file, select.POLLIN)
    poll.register(connection, select.POLLIN)

    def send_and_ring(primitive: Any) -> None:
        send(primitive)
        bell.ring()

    def look_or_rest() -> bool:
        if look():
            return True
        over = dul.socket is None or dul.socket.socket is None or dul._kill_thread  # noqa: SLF001
        if not over and dul.event_queue.empty() and dul.to_provider_queue.empty():
            poll.poll(_NAP_S * 1000)
            bell.hush()
        return False

    def ended() -> None:
        bell.close()
        checkpoint.ring()

    dul.send_pdu, dul._is_transport_event = send_and_ring, look_or_rest  # type: ignore[method-assign]  # noqa: SLF001
    dul._run_loop_delay = 0  # noqa: SLF001
    association._reactor_checkpoint = checkpoint  # noqa: SLF001
    for waiting in (association.dimse.msg_queue, dul.to_user_queue):
        _ring_at(waiting, checkpoint)
    return ended


def _ring_at(waiting: Any, checkpoint: Checkpoint) -> None:
    put = waiting.put

    def put_and_ring(item: object) -> None:
        put(item)
        checkpoint.ring()

    waiting.put = put_and_ring
