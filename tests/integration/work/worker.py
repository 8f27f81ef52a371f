"""A worker of its own: the real loop, heart, reaper and engine around a job that does what its pipeline's name says.

    python worker.py URL FOLDER LEASE_S NAME [HOST]

It reports to FOLDER/NAME.log, one line for each thing that happened. A job whose pipeline begins with "slow" ends when there is a file
FOLDER/NAME.go; "poison" kills its worker; anything else ends at once. HOST makes it claim to run on another machine.
"""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

from node.app.role import stop_on_signals
from node.ledger.audit import record
from node.ledger.engine import Ledger
from node.work.engine import Engine, Executor
from node.work.identity import new_identity
from node.work.lease import Heart
from node.work.loop import Loop, Outcome
from node.work.reaper import Longest, Reaper
from node.work.retry import RetryPolicy


class Station:
    """Does jobs, and reports."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name

    def report(self, *words: object) -> None:
        with (self.folder / f"{self.name}.log").open("a") as log:
            print(*words, file=log, flush=True)

    def do(self, work):
        self.report("begin", work.job.pipeline, work.dispatch)
        if work.job.pipeline == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        while work.job.pipeline.startswith("slow") and not (self.folder / f"{self.name}.go").exists():
            time.sleep(0.02)
        return Outcome(
            settle=lambda tx: record(tx, "test.result", {"by": self.name, "pipeline": work.job.pipeline}),
            settled=lambda: self.report("settled", work.job.pipeline),
            dropped=lambda: self.report("dropped", work.job.pipeline),
            summary={"by": self.name},
        )


def main(url, folder, lease_s, name, host=None):
    identity = new_identity() if host is None else "/".join([host, *new_identity().split("/")[1:]])
    station, lease = Station(Path(folder), name), float(lease_s)
    policy = RetryPolicy(attempts=2, crashes=2, first_s=0.1, most_s=0.2)
    stop = stop_on_signals()
    with closing(Ledger(url, actor=f"work@{name}")) as ledger, Engine(url) as engine:
        heart = Heart(ledger, lease, lambda work_id: station.report("lost", work_id))
        loop = Loop(ledger, engine, heart, policy, station.do, lambda *_: None, identity=identity, lease_s=lease)
        heart.start()
        executor = Executor(url, "infer", identity, loop.perform)
        executor.start()
        station.report("ready")
        Reaper(ledger, engine, lease, heart.is_steady, Longest(lease_s=lease, delay_s=60.0)).run(stop)
        executor.stop(1)
        heart.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
