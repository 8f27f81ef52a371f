"""What every role has, and how it starts and stops."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from queue import SimpleQueue

import structlog

from node.app.residence import check_place, resident
from node.app.schedule import open_work_engine
from node.app.store import open_spool, settle_in
from node.config import Config, RetrySection
from node.core.errors import ConfigError
from node.core.job import WorkKind
from node.ledger.engine import Ledger
from node.ledger.migrate import migrating
from node.ledger.patience import ANSWER_S
from node.work import engine as work_engine
from node.work.engine import Executor
from node.work.identity import new_identity
from node.work.lease import Heart
from node.work.loop import Loop
from node.work.reaper import Longest, Reaper
from node.work.retry import RetryPolicy
from pipelines.catalog import Catalog, load_catalog

log = structlog.get_logger(__name__)

#: How long a role that was asked to stop may take to finish what it does.
DRAIN_S = 20.0


def migrate(config: Config) -> None:
    """Bring the ledger and the engine's tables up to date; one process at a time, the others wait."""
    with migrating(config.database_url):
        work_engine.prepare(config.database_url, config.work.poll_s, {"infer": config.work.jobs + config.work.ahead, "deliver": 1})


def read_catalog(config: Config) -> Catalog:
    """Check every pipeline against its bundle.

    Raises
    ------
    ConfigError
        If a pipeline is enabled that there is no folder for.
    """
    catalog = load_catalog(config.pipelines.folder, config.pipelines.models)
    unknown = [name for name in config.every_pipeline if name not in catalog.available and name not in catalog.unavailable]
    if unknown:
        raise ConfigError(f"There is no pipeline {', '.join(unknown)} in {config.pipelines.folder}.")
    return catalog


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    # A handler runs in the middle of whatever the main thread does. Were that ``stop.wait()``, which holds the event's lock, setting it
    # here would wait for ever; this queue alone may be written to at any moment.
    asked: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.put(number))

    def watch() -> None:
        asked.get()
        stop.set()

    threading.Thread(target=watch, name="signals", daemon=True).start()
    return stop


def stop_without(parent: int, stop: threading.Event) -> None:
    """Set ``stop`` when the process ``parent`` is gone: a role without its supervisor must not keep the port from the next one."""

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(0.5):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class Role:
    """What every role has: the ledger, the spool, the engine's front door.

    Parameters
    ----------
    owner : str, optional
        Whose place in the spool's journal it takes; what it leaves there in a crash is recovered by the next of that owner.
    """

    def __init__(self, config: Config, name: str, stack: ExitStack, *, owner: str = "") -> None:
        check_place(config)
        migrate(config)
        self.config = config
        self.identity = new_identity()
        self.ledger = Ledger(config.database_url, actor=f"{name}@{self.identity}", answer_s=ANSWER_S)
        stack.callback(self.ledger.close)
        stack.enter_context(resident(self.ledger))
        self.engine = stack.enter_context(open_work_engine(config))
        self.spool = stack.enter_context(open_spool(config, owner or name))
        settle_in(config, self.ledger, self.spool)


def policy_of(section: RetrySection) -> RetryPolicy:
    """The retry policy that a section of the configuration asks for."""
    return RetryPolicy(attempts=section.attempts, crashes=section.crashes, first_s=section.retry_first_s, most_s=section.retry_most_s)


def run_queue(role: Role, kind: WorkKind, heart: Heart, loop: Loop, section: RetrySection, stop: threading.Event) -> None:
    """Work through one queue until ``stop`` is set, and rescue what others have left."""
    heart.start()
    executor = Executor(role.config.database_url, kind, role.identity, loop.perform)
    executor.start()
    log.info("queue.opened", kind=kind)
    sections = (role.config.work, role.config.deliver)
    longest = Longest(lease_s=max(each.lease_s for each in sections), delay_s=max(policy_of(each).longest_s for each in sections))
    Reaper(role.ledger, role.engine, section.lease_s, heart.is_steady, longest).run(stop)
    executor.stop(DRAIN_S)
    heart.stop()
