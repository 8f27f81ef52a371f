"""A child process that can be killed, and whose every end is known at once.

Our own and not a pool of a library, because a pool takes a child that leaves with exit code 0 for one that has done its work. What ends
a child is seen through a file descriptor of the process itself, which nothing that the model has started can hold open.
"""

from __future__ import annotations

import builtins
import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import psutil

from node.core.errors import CodedError, DeviceError, DeviceLost, OutOfMemory, TimedOut
from node.core.memory import Memory
from node.work import host

#: What a device says of this process's part of its memory: held now, and at most since it was asked before.
Gauge = Callable[[], tuple[int, int]]
Why = Literal["cancelled", "time", "memory"]

_LOOK_S = 0.1
#: For a new process to import what it is to run.
_START_S = 120.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    Attributes
    ----------
    made : object
        What the function returned.
    held, peak : Memory
        What the child holds now, and held at most while it worked.
    """

    made: Any
    held: Memory
    peak: Memory


class _Trace(Exception):
    """The traceback in the child, as the cause of what is raised here."""


class Child:
    """One process, asked one thing at a time.

    It dies with the thread that made it, which therefore has to live as long as its process.

    Parameters
    ----------
    limit : int
        How many bytes it may hold; 0: any number.
    gauge : callable, optional
        A function of a module, run in the child.
    """

    def __init__(self, limit: int = 0, gauge: Gauge | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), limit, gauge), name="device-child", daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0
        self._end = os.pidfd_open(self.pid)
        self._limit = limit
        self._why: Why | None = None
        # Whoever asks holds the first; what ends the child needs the second only.
        self._asking, self._lock = threading.RLock(), threading.Lock()
        self._buried = False

    def is_alive(self) -> bool:
        """Whether it can be asked."""
        with self._asking:
            return not self._buried and not wait([self._end], timeout=0)

    def ask(self, seconds: float, function: Callable[..., Any], *arguments: object) -> Answer:
        """Run a function of a module in the child.

        Raises
        ------
        TimedOut
            If it took longer than ``seconds``, the start of the process not counted; it was killed.
        OutOfMemory
            reason ``host`` (it asked for more than it may), ``limit`` (it took more, and was killed) or ``killed`` (by the kernel).
        DeviceLost
            reason ``exited``, ``crashed``, ``killed`` or ``cancelled``.
        Exception
            Whatever the function raised.
        """
        with self._asking:
            reply, peak = self._exchange(seconds, pickle.dumps((function, arguments)))
        made, error, trace, (device_held, device_peak) = pickle.loads(reply)  # noqa: S301 - from our own child
        if error is not None:
            raise error from (_Trace(trace) if trace else None)
        held = Memory(host=self.resident(), device=device_held)
        return Answer(made=made, held=held, peak=peak.at_least(Memory(host=held.host, device=device_peak)))

    def kill(self, why: Why = "cancelled") -> None:
        """Kill it and whatever it has started; whoever waits for its answer is told why."""
        with self._lock:
            self._why = self._why or why
            if not self._buried:
                _kill_group(self.pid)

    def bury(self) -> int | None:
        """Kill it if it lives, wait until it is gone, and return its exit code."""
        self.kill()
        with self._asking, self._lock:
            if not self._buried:
                wait([self._end], timeout=10)
                self._buried = True
                os.close(self._end)
                self._connection.close()
        # Whoever starts another process may collect this one in the same moment, and then it takes one more look to learn the code.
        return next(filter(lambda code: code is not None, (self._process.exitcode for _ in range(3))), None)

    def _exchange(self, seconds: float, task: bytes) -> tuple[bytes, Memory]:
        """Send a task, and wait for the answer; return it with the most memory that was seen meanwhile."""
        kills = host.kills()
        try:
            self._connection.send_bytes(task)
            self._receive(_START_S, kills)
            return self._receive(seconds, kills)
        except (EOFError, OSError) as error:
            raise self._gone(kills, seconds) from error

    def _receive(self, seconds: float, kills: int) -> tuple[bytes, Memory]:
        """The next message, and the most memory that was seen until it came."""
        deadline, peak = time.monotonic() + seconds, Memory()
        while True:
            ready = wait([self._connection, self._end], timeout=_LOOK_S)
            resident = self.resident()
            peak = peak.at_least(Memory(host=resident))
            if self._connection in ready:
                return self._connection.recv_bytes(), peak
            if ready:
                raise self._gone(kills, seconds)
            if self._limit and resident > self._limit:
                self.kill("memory")
            if time.monotonic() > deadline:
                self.kill("time")

    def resident(self) -> int:
        """How many bytes of the host it holds."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _gone(self, kills: int, seconds: float) -> DeviceError:
        """Say what its end was; nobody else of its group lives on."""
        wait([self._end], timeout=10)
        why = self._why
        code = self.bury()
        by_us: dict[Why, DeviceError] = {
            "cancelled": DeviceLost("The job was stopped because its lease was lost or it was cancelled.", reason="cancelled"),
            "time": TimedOut(f"The job took longer than {seconds:g} s and was stopped; raise limits.seconds if that is too short."),
            "memory": OutOfMemory(f"The model took more than {self._limit / 1e9:.1f} GB of memory and was stopped.", reason="limit"),
        }
        return by_us[why] if why is not None else _end_of(code, by_kernel=host.kills() > kills)


def _end_of(code: int | None, *, by_kernel: bool) -> DeviceError:
    """What an exit code says of a process that nobody of us has killed."""
    if code is None or code >= 0:
        return DeviceLost(f"The process that held the model left in the middle of the job (exit code {code}).", reason="exited")
    if code != -signal.SIGKILL:
        name = signal.Signals(-code).name
        return DeviceLost(f"The process that held the model crashed with {name} (exit code {code}).", reason="crashed")
    if by_kernel:
        return OutOfMemory("The kernel killed the process that held the model, because memory ran out.", reason="killed")
    return DeviceLost("The process that held the model was killed by somebody (exit code -9).", reason="killed")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # when it has had no time to make a group of its own


def _serve(connection: Connection, parent: int, limit: int, gauge: Gauge | None) -> None:
    """In the child: answer until the parent is gone."""
    os.setsid()
    # By the kernel, because code that never gives the interpreter's lock back would let no thread look for the parent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    faulthandler.enable()
    if limit:
        # So that whoever asks for too much gets an error that it can handle; what this does not count, the parent sees. Not the
        # address space: CUDA reserves far more of that than there is memory.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(EOFError):
        while True:
            connection.send_bytes(_answer(connection, connection.recv_bytes(), gauge))


def _answer(connection: Connection, task: bytes, gauge: Gauge | None) -> bytes:
    made: object = None
    error: Exception | None = None
    trace = ""
    try:
        function, arguments = pickle.loads(task)  # noqa: S301 - from our own parent
        connection.send_bytes(b"begun")
        made = function(*arguments)
    except Exception as raised:  # noqa: BLE001 - the boundary: the parent says what becomes of it
        error, trace = _plain(raised), "" if isinstance(raised, CodedError) else traceback.format_exc()
    measured = gauge() if gauge is not None else (0, 0)
    try:
        return pickle.dumps((made, error, trace, measured))
    except (pickle.PicklingError, TypeError, AttributeError) as problem:
        return pickle.dumps((None, TypeError(f"The answer cannot leave the process: {problem}"), "", measured))


def _plain(error: Exception) -> Exception:
    """The error itself if the parent knows its kind without importing anything: it must not load torch, nor a bundle's own code."""
    if isinstance(error, MemoryError):
        return OutOfMemory("The memory of this machine, or what one model may take of it, does not suffice.", reason="host")
    if isinstance(error, CodedError) or getattr(builtins, type(error).__name__, None) is type(error):
        return error
    return RuntimeError(f"{type(error).__module__}.{type(error).__qualname__}")
