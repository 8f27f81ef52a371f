"""A process with a spool of its own, for the tests to stop, to kill and to listen to.

hold: put KEY with TEXT, say "ready", and wait for "settle", "withdraw" or "close" on standard input.
trace: put KEY with TEXT, twice, and write down the order of what made it durable.
seal: the same by a slot that is sealed.
exit: put KEY with TEXT, and die at the Nth step that touches the disk.
"""

import os
import sys
import threading
from pathlib import Path

from node.spool.draft import name_all
from node.spool.local import LocalSpool

STEPS = ("fsync", "rename", "link", "replace", "mkdir", "unlink")


def hold(root, key, text):
    with LocalSpool(Path(root), "listen") as spool:
        draft = spool.put_atomic(key, text.encode())
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "close":
                break
            getattr(draft, line.strip())()
            print("done", flush=True)


def watch(step, report):
    """Call ``report`` with the name of the step and its files, and then do the step."""
    real = getattr(os, step)

    def stepped(*arguments, **options):
        files = (
            [Path(f"/proc/self/fd/{arguments[0]}").readlink()]
            if step == "fsync"
            else [Path(a) for a in arguments if not isinstance(a, int)]
        )
        report(step, files)
        return real(*arguments, **options)

    setattr(os, step, stepped)


def tell(root):
    """Write down every step that follows."""

    def name(file):
        if "incoming" not in file.parts:
            return str(file.relative_to(root))
        return file.suffix or "incoming"

    def report(step, files):
        if threading.current_thread() is not threading.main_thread():
            return  # slots that are made ahead: nobody waits for these
        print(step, *(name(file) for file in files if file.is_relative_to(root)), flush=True)

    for step in STEPS:
        watch(step, report)


def trace(root, key, text):
    with LocalSpool(Path(root), "listen") as spool:
        tell(root)
        for _ in range(2):
            draft = spool.put_atomic(key, text.encode())
            print("answer", flush=True)
            draft.settle()
        print("end", flush=True)


def seal(root, key, text):
    with LocalSpool(Path(root), "listen") as spool:
        tell(root)
        for _ in range(2):
            incoming = spool.open_incoming(b"preface")
            incoming.write(memoryview(text.encode()))
            incoming.seal(b"sealed")
            print("answer", flush=True)
            draft = spool.leave(incoming, key)
            name_all([draft])
            draft.settle()
        print("end", flush=True)


def die(root, key, text, nth):
    left = [int(nth)]

    def report(step, names):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)

    with LocalSpool(Path(root), "listen") as spool:
        for step in STEPS:
            watch(step, report)
        spool.put_atomic(key, text.encode())
        print("answer", flush=True)


if __name__ == "__main__":
    {"hold": hold, "trace": trace, "seal": seal, "exit": die}[sys.argv[1]](*sys.argv[2:])
