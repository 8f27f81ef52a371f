"""What the child of a device is asked to do in the tests; run as a program: a parent with such a child, to be killed."""

import ctypes
import os
import sys
import time
from pathlib import Path

from node.core.errors import GeometryError, OutOfMemory
from node.work.device import Device


def leave_pid(path):
    Path(path).with_suffix(".new").write_text(str(os.getpid()))
    Path(path).with_suffix(".new").replace(path)


def work(asked):
    """Do ``asked["what"]``; leave the process number in ``asked["pid"]`` first."""
    if "pid" in asked:
        leave_pid(asked["pid"])
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

if __name__ == "__main__":
    Device(work).run("job", {"what": sys.argv[1], "pid": sys.argv[2]}, 600)
