"""What the child of a device is asked to do in the tests; run as a program: a parent with such a child, to be killed."""

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from node.core.errors import GeometryError, OutOfMemory
from node.work.device import Device

LEAKED = []


def leave_pid_of(pid, path):
    Path(path).with_suffix(".new").write_text(str(pid))
    Path(path).with_suffix(".new").replace(path)


def work(asked):
    """Do ``asked["what"]``; leave the process number in ``asked["pid"]`` first."""
    if "pid" in asked:
        leave_pid_of(os.getpid(), asked["pid"])
    return TASKS[asked["what"]](asked)


def answer(asked):
    return os.getpid()


def wait(asked):
    time.sleep(600)


def compute(asked):
    """Never give the interpreter's lock back for long."""
    while True:
        sum(range(1000))


def leave(asked):
    os._exit(asked["code"])


def fault(asked):
    ctypes.string_at(0)


def hold(asked):
    """Never give the interpreter's lock back at all, as compiled code may."""
    ctypes.PyDLL(None).sleep(600)


def kill(asked):
    os.kill(os.getpid(), signal.SIGKILL)


def desert(asked):
    """Leave, while a process that was forked before holds everything open that this one had."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)


def leave_a_child(asked):
    """Start a process of its own, and wait with it."""
    leave_pid_of(subprocess.Popen(["sleep", "600"]).pid, asked["other"])
    time.sleep(600)


def leak(asked):
    """Keep ten megabytes more each time."""
    LEAKED.append(bytearray(os.urandom(1)) * 10_000_000)
    return os.getpid()


def take(asked):
    """Take memory bit by bit, without end."""
    while True:
        LEAKED.append(bytearray(b"x") * 10_000_000)


def share(asked):
    """Take memory of the kind that no limit of the kernel counts, bit by bit, without end."""
    while True:
        shared = mmap.mmap(-1, 10_000_000)
        shared.write(b"x" * 10_000_000)
        LEAKED.append(shared)


def swell(asked):
    """Need much for a moment, and give it back."""
    for_a_moment = bytearray(b"x") * asked["bytes"]
    time.sleep(0.3)
    return len(for_a_moment)


def raise_strangely(asked):
    """Raise what only this process knows, and what cannot be pickled."""

    class OnlyHere(Exception):
        pass

    raise OnlyHere(lambda: None)


def give_back_what_cannot_travel(asked):
    return lambda: None


def rest(asked):
    time.sleep(asked["seconds"])
    return os.getpid()


def refuse(asked):
    raise GeometryError("There is a gap of 5 mm.", reason="gap")


def fill(asked):
    raise OutOfMemory("8 GiB are too few.")


def break_down(asked):
    raise ZeroDivisionError("nobody thought of it")


def ask_to_exit(asked):
    sys.exit(asked["code"])


TASKS = {"answer": answer, "wait": wait, "compute": compute, "leave": leave, "fault": fault}
TASKS |= {"refuse": refuse, "fill": fill, "break": break_down, "exit": ask_to_exit}
TASKS |= {"hold": hold, "kill": kill, "desert": desert, "leave a child": leave_a_child, "leak": leak, "take": take, "swell": swell}
TASKS |= {"strange": raise_strangely, "lambda": give_back_what_cannot_travel, "rest": rest, "share": share}


def gauge():
    """As if there were a device of which each child holds 4, and 6 while it works."""
    return 4, 6


if __name__ == "__main__":
    Device(work).run("job", {"what": sys.argv[1], "pid": sys.argv[2]}, 600)
