"""A listener that ends itself at the Nth step that touches the disk or the database, again and again.

    python exiting.py

It loads everything once. Each line "CONFIG N WHEN" on standard input forks a listener that exits with code 9 at its Nth step, counted from
its start (WHEN is "start") or from SIGUSR1 (WHEN is "signal"; a file "armed" beside CONFIG tells that it counts); with N = 0 it never does.
It answers "started PID", and "ended CODE" when it is over. A step is a call that gives a file its bytes, its name or its end, and a COMMIT,
once before and once after it is done.
"""

import itertools
import os
import signal
import sys
from pathlib import Path

from sqlalchemy.engine.default import DefaultDialect

from node.app import listen
from node.app.role import stop_on_signals
from node.config import read_config
from node.logs import configure_logs
from node.spool import slots

STEPS = ("fsync", "rename", "link", "replace", "unlink", "mkdir")
EXIT_CODE = 9


def arm(nth: int) -> None:
    """Exit at the nth step from here on, before the step is done."""
    numbers = itertools.count(1)

    def count() -> None:
        if next(numbers) == nth:
            os._exit(EXIT_CODE)

    for name in STEPS:
        _count_before(name, count)
    commit = DefaultDialect.do_commit

    def do_commit(self, connection):
        count()
        commit(self, connection)
        count()

    DefaultDialect.do_commit = do_commit


def _count_before(name, count) -> None:
    real = getattr(os, name)

    def step(*arguments, **options):
        count()
        return real(*arguments, **options)

    setattr(os, name, step)


def run(path: str, nth: int, when: str) -> None:
    """Be a listener until SIGTERM, or until the nth step."""
    config = read_config(Path(path))
    # To take a slot away that nobody has used is a step of the orderly end, for each of 126 the same; a few show what there is to see.
    slots._AT_ONCE = slots._FEW = 3
    log = os.open(Path(path).parent / "radnode.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    configure_logs("info", "json", "listen")
    stop = stop_on_signals()

    def arm_now(*_) -> None:
        (Path(path).parent / "armed").touch()
        arm(nth)

    signal.signal(signal.SIGUSR1, arm_now)
    if nth and when == "start":
        arm(nth)
    listen.run(config, stop)


def main() -> None:
    for line in sys.stdin:
        path, nth, when = line.split()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(path, int(nth), when)
                code = 0
            finally:
                os._exit(code)
        print("started", child, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
