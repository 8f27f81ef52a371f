"""What the configuration asks of the schedule, and the verbs by which operators change it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager

from node.config import Config
from node.core.errors import StateError
from node.core.job import Priority
from node.core.schedule import Limits, PriorityRule
from node.intake.triage import Triage
from node.ledger import holds, jobs, orders, outbox, schedule
from node.ledger.engine import Ledger
from node.ledger.holds import HoldKind
from node.work.engine import Engine


def limits_of(config: Config) -> Limits:
    """How many jobs run at once."""
    section = config.schedule
    return Limits(**section.model_dump(include={"per_pipeline", "per_source", "per_device", "pipelines", "sources"}))


def open_work_engine(config: Config) -> Engine:
    """The front door of the work engine, for a process of this machine."""
    device = config.work.device
    return Engine(config.database_url, limits_of(config), device=f"{platform.node()[:64]}/{device}")


def triage_of(config: Config, ledger: Ledger) -> Triage:
    """Who gives studies their priorities."""
    rules = [
        PriorityRule(
            priority=level_of(rule.priority),
            calling_ae=frozenset(rule.calling_ae),
            called_ae=frozenset(rule.called_ae),
            tag=rule.tag,
            value=rule.value,
        )
        for rule in config.priority
    ]
    return Triage(ledger, rules, level_of(config.schedule.priority))


def level_of(name: str) -> Priority:
    """The priority of this name."""
    return Priority[name.upper()]


def shadow_of(config: Config) -> Callable[[str], Collection[str]]:
    """Gives for a pipeline the destinations that its results are kept from."""
    every = frozenset(destination.name for destination in config.destination)
    kept = frozenset(destination.name for destination in config.destination if destination.shadow)
    pipelines = frozenset(config.schedule.shadow)
    return lambda pipeline: every if pipeline in pipelines else kept


class Operator:
    """What an operator may order.

    Parameters
    ----------
    who : str
        The operator, as the audit log names them.
    """

    def __init__(self, config: Config, ledger: Ledger, engine: Engine, who: str) -> None:
        self._config, self._ledger, self._engine, self._who = config, ledger, engine, who

    def pause(self, kind: HoldKind, name: str, why: str) -> bool:
        """Begin nothing of this any more; False when that was so already."""
        self._check(kind, name)
        with self._ledger.writing() as tx:
            paused = holds.put(tx, kind, name, self._who, why)
            schedule.take_back(tx, holds.covers(kind, name))
            return paused

    def resume(self, kind: HoldKind, name: str) -> bool:
        """Let this go on; False when it was not stopped."""
        with self._ledger.writing() as tx:
            lifted = holds.lift(tx, kind, name, self._who)
            self._engine.refill_all(tx)
            return lifted

    def drain(self, kind: HoldKind, name: str, why: str, wait_s: float) -> int:
        """Begin nothing of this any more, and wait until nothing of it runs; return how much still does after ``wait_s`` seconds."""
        self.pause(kind, name, why)
        deadline = time.monotonic() + wait_s
        while True:
            with self._ledger.reading() as tx:
                left = holds.running(tx, kind, name)
            if not left:
                with self._ledger.writing() as tx:
                    holds.record_drained(tx, kind, name, self._who)
                return 0
            if time.monotonic() >= deadline:
                return left
            time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))

    def cancel(self, target: str, why: str) -> list[str]:
        """Cancel a job, a parcel or all of a study; return what was cancelled."""
        with self._ledger.writing() as tx:
            found = orders.cancel(tx, target, self._who, why)
            self._engine.refill_all(tx)
        return [work.id for work in found]

    def prioritise(self, target: str, level: Priority) -> list[str]:
        """Give what waits of a job, a parcel or a study another priority; return what was changed."""
        with self._ledger.writing() as tx:
            return [work.id for work in orders.prioritise(tx, target, level, self._who, self._engine.dispatch)]

    def replay(self, target: str) -> list[str]:
        """Bring refused or failed work back: one job or parcel, or all of a study's latest revision; return what."""
        with self._ledger.writing() as tx:
            found = orders.ended_badly(tx, target) or [target]
            for work_id in found:
                work = jobs.replay(tx, work_id, self._who, self._engine.dispatch)
                if work.kind == "deliver":
                    outbox.replay(tx, work)
        return found

    def _check(self, kind: HoldKind, name: str) -> None:
        known = {"everything": ("",), "pipeline": self._config.every_pipeline}
        names = known.get(kind, tuple(destination.name for destination in self._config.destination))
        if name not in names:
            raise StateError(f"There is no {kind} {name}; there is {', '.join(names)}." if name else f"Say which {kind}.")


@contextmanager
def open_operator(config: Config, verb: str, who: str) -> Iterator[Operator]:
    """Whoever gives one order."""
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(config.database_url, actor=f"{verb}@{who}")))
        yield Operator(config, ledger, stack.enter_context(open_work_engine(config)), who)
