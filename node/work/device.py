"""One device: a light parent, and one child process for each loaded model.

The parent keeps the leases and never loads torch. A time-out or a cancel is a real kill; running out of memory or a segmentation fault
takes the child and not the worker; code that never gives the interpreter's lock back cannot stop the heart. Children are let in by the
memory that their model was measured to need (``node.work.admission``); who was not used for the longest time makes room.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import structlog

from node.core.errors import DeviceError, DeviceLost, OutOfMemory
from node.core.memory import Memory, Need
from node.work import host
from node.work.admission import decide
from node.work.child import Answer, Child, Gauge
from node.work.seat import Limits, Ran, Seat

log = structlog.get_logger(__name__)

Asked = TypeVar("Asked")
Made = TypeVar("Made")
#: How long a model may take to load before anybody has asked for it.
_LOAD_S = 600.0
#: Memory comes and goes by what others do, too.
_LOOK_S = 1.0


class Device(Generic[Asked, Made]):
    """Runs ``function`` in child processes, one for each model, or several where several jobs of one model run side by side.

    Parameters
    ----------
    function : callable
        A function of a module, so that a child can import it; what it takes and returns travels between the processes.
    gauge : callable, optional
        A function of a module that measures the device's memory, in the child.
    needs : callable
        What a model was measured to need before our time, if ever.
    tell : callable
        Told of each model that is unloaded, and why.
    """

    def __init__(
        self,
        function: Callable[[Asked], Made],
        limits: Limits | None = None,
        *,
        gauge: Gauge | None = None,
        needs: Callable[[str], Need | None] = lambda _model: None,
        tell: Callable[[str, Mapping[str, Any]], None] = lambda _model, _detail: None,
    ) -> None:
        self._function, self._limits, self._gauge, self._recall, self._tell = function, limits or Limits(), gauge, needs, tell
        self._machine = Memory(host=host.total_bytes())
        self._seats: list[Seat] = []
        self._spare: Child | None = None
        self._needs: dict[str, Need] = {}
        self._waiting: dict[tuple[bool, int], str] = {}
        self._cancelled: set[str] = set()
        self._untold: list[tuple[str, Mapping[str, Any]]] = []
        self._examined: tuple[str, Child] | None = None
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        # A child dies with the thread that made it, so one thread makes them all.
        self._nursery = ThreadPoolExecutor(1, thread_name_prefix="nursery")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loading")

    def run(self, work_id: str, asked: Asked, seconds: float, model: str = "") -> Ran[Made]:
        """Run one request, as soon as there is room for its model.

        Raises
        ------
        TimedOut
            If it took longer than ``seconds``; its process was killed.
        OutOfMemory, DeviceLost
            See `node.work.child.Child.ask`; ``DEVICE_LOST.cancelled`` also if it was cancelled before it began.
        Exception
            Whatever the function raised.
        """
        begun = time.monotonic()
        seat = self._admit(work_id, model, warming=False)
        waited = time.monotonic() - begun
        answer = self._ask(seat, seconds, self._function, asked)
        return Ran(made=answer.made, peak=answer.peak, held=answer.held, waited_s=waited)

    def examine(self, work_id: str, seconds: float, function: Callable[..., Any], *arguments: object) -> Any:
        """Run a function in a child that holds no model yet, and keep it for the first one; raises as ``run`` does.

        What it tells of the device's free memory is what there is to share out: see ``allot``.
        """
        with self._changed:
            child = self._start()
            self._examined = (work_id, child)
        try:
            made = child.ask(seconds, function, *arguments).made
        except BaseException:
            child.bury()
            raise
        finally:
            self._examined = None
        with self._changed:
            self._spare = child
        return made

    def allot(self, device_bytes: int) -> None:
        """Say how much of the device's own memory may be shared out."""
        with self._changed:
            self._machine = Memory(host=self._machine.host, device=device_bytes)

    def prepare(self, model: str, function: Callable[..., object], *arguments: object) -> None:
        """Have ``model`` loaded before the first request comes; should it fail, the request will say why."""
        self._loading.submit(self._prepare, model, function, arguments).add_done_callback(_complain)

    def cancel(self, work_id: str) -> None:
        """Kill whatever runs for ``work_id``; if it waits for room, it waits no longer."""
        with self._changed:
            if work_id in self._waiting.values():
                self._cancelled.add(work_id)
                self._changed.notify_all()
            for seat in self._seats:
                if seat.work_id == work_id:
                    seat.child.kill("cancelled")
            if self._examined is not None and self._examined[0] == work_id:
                self._examined[1].kill("cancelled")

    def close(self) -> None:
        """Kill every child."""
        with self._changed:
            self._closed = True
            children = [*(seat.child for seat in self._seats), self._spare, self._examined and self._examined[1]]
            self._seats, self._spare = [], None
            self._changed.notify_all()
            for child in children:
                if child is not None:
                    child.kill("cancelled")
        for child in children:
            if child is not None:
                child.bury()
        self._loading.shutdown(cancel_futures=True)
        self._nursery.shutdown()

    def _prepare(self, model: str, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        seat = self._admit(f"prepare {model}", model, warming=True)
        self._ask(seat, _LOAD_S, function, *arguments, is_job=False)

    def _ask(self, seat: Seat, seconds: float, function: Callable[..., Any], *arguments: object, is_job: bool = True) -> Answer:
        """Ask the child in ``seat`` and give the seat back; a child whose device has failed it is not asked again."""
        try:
            answer = seat.child.ask(seconds, function, *arguments)
        except DeviceError as error:
            with self._changed:
                self._unload(seat, error.full_code)
            raise
        except BaseException:
            self._leave(seat, Memory(host=seat.child.resident(), device=seat.held.device), is_job=is_job)
            raise
        else:
            if is_job:
                self._learn(seat.model, Need(held=answer.held, peak=answer.peak))
            self._leave(seat, answer.held, is_job=is_job)
        finally:
            self._tell_all()
        return answer

    def _admit(self, work_id: str, model: str, *, warming: bool) -> Seat:
        """Wait for a child that may be asked; who came first goes first, and whoever only loads a model goes last."""
        known = model in self._needs or self._recall(model)
        place = (warming, next(self._numbers))
        with self._changed:
            if isinstance(known, Need):
                self._needs.setdefault(model, known)
            self._waiting[place] = work_id
            try:
                while True:
                    if self._closed or work_id in self._cancelled:
                        raise DeviceLost("The job was stopped before it began: its lease was lost or it was cancelled.", reason="cancelled")
                    seat = self._seat_for(work_id, model, warming=warming) if min(self._waiting) == place else None
                    if seat is not None:
                        return seat
                    self._changed.wait(_LOOK_S)
            finally:
                del self._waiting[place]
                self._cancelled.discard(work_id)
                self._changed.notify_all()

    def _seat_for(self, work_id: str, model: str, *, warming: bool) -> Seat | None:
        """A child for ``model``, warm or new, now that it may be had; None when it may not."""
        for seat in [seat for seat in self._seats if seat.work_id is None and not seat.child.is_alive()]:
            self._unload(seat, "died")
        while True:
            seen = [seat.seen() for seat in self._seats]
            decision = decide(model, seen, self._needs, self._free(), self._machine, self._limits.at_once)
            chosen = self._seats[seen.index(decision.child)] if decision.child is not None else None
            if decision.what == "wait":
                return None
            if decision.what == "unload" and chosen is not None:
                if warming:
                    raise OutOfMemory("There is no room to load the model before it is asked for.", reason="room")
                self._unload(chosen, "room")
                continue
            if chosen is None:
                chosen = Seat(child=self._start(), model=model, work_id=work_id, used=0, held=Memory())
                self._seats.append(chosen)
            chosen.work_id, chosen.used = work_id, next(self._numbers)
            return chosen

    def _start(self) -> Child:
        """A child without a model: the one that was examined, or a new one."""
        if self._closed:
            raise DeviceLost("The worker is being stopped.", reason="cancelled")
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.is_alive():
                return spare
            spare.bury()
        limit = self._limits.child_bytes or self._machine.host * 9 // 10
        return self._nursery.submit(Child, limit, self._gauge).result()

    def _free(self) -> Memory:
        held = sum(seat.held.device for seat in self._seats)
        return Memory(host=host.free_bytes() - self._limits.reserve_bytes, device=self._machine.device - held)

    def _learn(self, model: str, need: Need) -> None:
        with self._changed:
            self._needs[model] = need.at_least(self._needs.get(model, need))

    def _leave(self, seat: Seat, held: Memory, *, is_job: bool) -> None:
        """Give the seat back; a child that has grown too much since its first job is replaced before the next one."""
        with self._changed:
            grown = seat.give_back(held, next(self._numbers), is_job=is_job)
            if max(grown.host, grown.device) > self._limits.growth_bytes:
                self._unload(seat, "grown")
            self._changed.notify_all()

    def _unload(self, seat: Seat, why: str) -> None:
        """End a child; called with the lock held."""
        seat.child.bury()
        if seat in self._seats:
            self._seats.remove(seat)
            self._untold.append((seat.model, {"why": why, "host_bytes": seat.held.host, "device_bytes": seat.held.device}))
        self._changed.notify_all()

    def _tell_all(self) -> None:
        with self._changed:
            untold, self._untold = self._untold, []
        for model, detail in untold:
            log.info("model.unloaded", model=model[:12], **detail)
            self._tell(model, detail)


def _complain(loading: Future[None]) -> None:
    error = None if loading.cancelled() else loading.exception()
    if error is not None:
        log.warning("model.not_prepared", error=str(error))
