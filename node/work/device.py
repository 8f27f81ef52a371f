"""One device: a child process that holds torch and the warm models, and can be killed.

The parent stays light and keeps the lease. A time-out or a cancel is a real kill; running out of memory or a segmentation fault
takes the child and not the worker; code that never gives the interpreter's lock back cannot stop the heart.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from node.core.errors import DeviceLost, TimedOut

Asked = TypeVar("Asked")
Made = TypeVar("Made")


class Device(Generic[Asked, Made]):
    """Runs ``function`` in its child process, one request at a time.

    Parameters
    ----------
    function : callable
        A function of a module, so that the child can import it; what it takes and returns travels between the processes.
    """

    def __init__(self, function: Callable[[Asked], Made]) -> None:
        self._function = function
        self._pool = ProcessPool(
            max_workers=1, initializer=_end_with, initargs=(os.getpid(),), context=multiprocessing.get_context("spawn")
        )
        self._closed = False
        self._lock = threading.Lock()
        self._running: dict[str, ProcessFuture[Made]] = {}

    def run(self, work_id: str, asked: Asked, seconds: float) -> Made:
        """Run one request.

        Raises
        ------
        TimedOut
            If it took longer than ``seconds``; its process was killed.
        DeviceLost
            If its process died, or was killed because the work was cancelled.
        Exception
            Whatever the function raised.
        """
        with self._lock:
            self._running[work_id] = future = self._schedule(asked, seconds)
        try:
            return future.result()
        except TimeoutError as error:
            raise TimedOut(f"The job took longer than {seconds:g} s and was stopped; raise limits.seconds if that is too short.") from error
        except BrokenProcessPool as error:
            raise DeviceLost("The process that held the model died before it was asked.", reason="process") from error
        except ProcessExpired as error:
            raise DeviceLost(f"The process that held the model died (exit code {error.exitcode}).", reason="process") from error
        except CancelledError as error:
            raise DeviceLost("The job was stopped because its lease was lost or it was cancelled.", reason="cancelled") from error
        finally:
            with self._lock:
                self._running.pop(work_id, None)

    def prepare(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the child run ``function`` before the first request comes; should it fail, the request will say why."""
        self._pool.schedule(function, args=arguments)

    def _schedule(self, asked: Asked, seconds: float) -> ProcessFuture[Made]:
        """Ask the child; a pool whose child died while it waited takes nothing more and is replaced."""
        if not self._pool.active and not self._closed:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool = _open_pool()
        return self._pool.schedule(self._function, args=(asked,), timeout=seconds)

    def cancel(self, work_id: str) -> None:
        """Kill whatever runs for ``work_id``."""
        with self._lock:
            future = self._running.get(work_id)
        if future is not None:
            future.cancel()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Kill the child."""
        self._closed = True
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _open_pool() -> ProcessPool:
    return ProcessPool(max_workers=1, initializer=_end_with, initargs=(os.getpid(),), context=multiprocessing.get_context("spawn"))


def _end_with(parent: int) -> None:
    """In the child: end when the parent has ended, however it ended."""
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
