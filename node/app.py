"""The composition root: the only place that knows which part is connected to which.

Each role is a process of its own: ``listen`` (the socket, assembling and routing), ``work`` (the device) and ``deliver`` (the courier). None
of the stations imports another; here they are handed to each other as callables.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import structlog

from node import __version__, process
from node.config import Config, RetrySection
from node.core.errors import ConfigError
from node.core.job import Work, WorkKind
from node.core.result import Answer, Delivery, Destination, Equipment
from node.deliver.courier import Courier
from node.dimse import scu
from node.dimse.scp import Door, Listener
from node.intake.assemble import Assembler
from node.intake.presence import Presence
from node.intake.receive import Receiver
from node.ledger import jobs, outbox, spooled
from node.ledger.engine import Ledger
from node.ledger.migrate import migrating
from node.spool.local import LocalSpool
from node.work import engine as work_engine
from node.work.device import Device
from node.work.engine import Engine, Executor
from node.work.identity import new_identity
from node.work.infer import Inference
from node.work.lease import Heart
from node.work.loop import Loop, Outcome
from node.work.reaper import Reaper
from node.work.retry import RetryPolicy
from pipelines.catalog import Catalog, load_catalog
from pipelines.result import SeriesFiles

log = structlog.get_logger(__name__)

#: How long a role that was asked to stop may take to finish what it does.
_DRAIN_S = 20.0


def migrate(config: Config) -> None:
    """Bring the ledger and the engine's tables up to date; one process at a time, the others wait."""
    with migrating(config.database_url):
        work_engine.prepare(config.database_url, config.work.poll_s, {"infer": 1, "deliver": 1})


def read_catalog(config: Config) -> Catalog:
    """Check every pipeline against its bundle.

    Raises
    ------
    ConfigError
        If a pipeline is enabled that there is no folder for.
    """
    catalog = load_catalog(config.pipelines.folder, config.pipelines.models)
    unknown = [name for name in config.pipelines.enabled if name not in catalog.available and name not in catalog.unavailable]
    if unknown:
        raise ConfigError(f"pipelines.enabled: there is no pipeline {', '.join(unknown)} in {config.pipelines.folder}.")
    return catalog


def destinations_of(config: Config) -> dict[str, Destination]:
    """The configured destinations, by name."""
    return {found.name: Destination(**found.model_dump()) for found in config.destination}


def caller_of(config: Config) -> scu.Caller:
    """Who we are when we call a destination."""
    return scu.Caller(ae_title=config.node.ae_title, connect_s=config.deliver.connect_s, answer_s=config.deliver.answer_s)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def stop_without(parent: int, stop: threading.Event) -> None:
    """Set ``stop`` when the process ``parent`` is gone: a role without its supervisor must not keep the port from the next one."""

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(0.5):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class Role:
    """What every role has: the ledger, the spool, the engine's front door."""

    def __init__(self, config: Config, name: str, stack: ExitStack) -> None:
        migrate(config)
        self.config = config
        self.identity = new_identity()
        self.ledger = Ledger(config.database_url, actor=f"{name}@{self.identity}")
        stack.callback(self.ledger.close)
        self.engine = stack.enter_context(Engine(config.database_url))
        self.spool = stack.enter_context(LocalSpool(config.node.data / "spool"))
        self._recover()

    def _recover(self) -> None:
        """Before anything new is taken: clear up after processes that are gone."""
        with self.ledger.reading() as tx:
            removed = self.spool.recover(lambda key: spooled.is_known(tx, key))
        if removed:
            log.info("spool.recovered", removed=removed)


def listen(config: Config, stop: threading.Event) -> None:
    """Run the listener until ``stop`` is set."""
    with ExitStack() as stack:
        role, presence = Role(config, "listen", stack), Presence()
        receiver = Receiver(role.ledger, role.spool, presence, config.listen.min_free_bytes)
        assembler = Assembler(
            role.ledger,
            role.spool,
            presence,
            read_catalog(config),
            role.engine.dispatch,
            node_ae=config.node.ae_title,
            enabled=config.pipelines.enabled,
            quiet_s=config.assemble.quiet_s,
            reprocess=config.assemble.late == "reprocess",
        )
        listener = Listener(_door(config), receiver)
        listener.start()
        stack.callback(listener.stop)
        assembler.run(stop, config.assemble.sweep_s)
        _drain(listener)
        assembler.sweep()


def _door(config: Config) -> Door:
    section = config.listen
    return Door(
        host=section.host,
        port=section.port,
        ae_title=config.node.ae_title,
        called_ae=config.called_ae_titles,
        calling_ae=frozenset(section.calling_ae),
        unknown_storage=section.unknown_storage,
        max_associations=section.max_associations,
        max_pdu=section.max_pdu,
        idle_s=section.idle_s,
    )


def _drain(listener: Listener) -> None:
    """Let associations that are open come to their end, for a while."""
    waited = threading.Event()
    for _ in range(int(_DRAIN_S / 0.1)):
        if not listener.is_receiving():
            return
        waited.wait(0.1)


def work(config: Config, stop: threading.Event) -> None:
    """Run a worker until ``stop`` is set."""
    with ExitStack() as stack:
        role = Role(config, "work", stack)
        device: Device[process.Request, Any] = Device(process.run_job)
        stack.callback(device.close)
        catalog = read_catalog(config)
        for name in set(config.pipelines.enabled) & set(catalog.available):
            section, digest = config.pipelines, catalog.available[name].model.digest
            device.prepare(process.warm_up, section.folder / name / "pipeline.toml", section.models, config.work.device, digest)
        ask = _requests(config, catalog)
        station = Inference(role.ledger, role.spool, device, ask, list(destinations_of(config)), role.engine.dispatch)
        heart = Heart(role.ledger, config.work.lease_s, device.cancel)
        loop = Loop(
            role.ledger, role.engine, heart, _policy(config.work), station.do, station.give_up, identity=role.identity, lease_s=config.work.lease_s
        )
        _run_queue(role, "infer", heart, loop, config.work, stop)


def _requests(config: Config, catalog: Catalog) -> Callable[[Work, Sequence[Path]], tuple[process.Request, float]]:
    equipment = Equipment(**config.equipment.model_dump(), software_version=__version__)

    def ask(task: Work, paths: Sequence[Path]) -> tuple[process.Request, float]:
        name = task.job.pipeline
        if name in catalog.unavailable:
            raise catalog.unavailable[name]
        request = process.Request(
            job=task.job,
            files=SeriesFiles(series_instance_uid=task.job.series_instance_uids[0], paths=tuple(paths)),
            pipelines=config.pipelines.folder,
            models=config.pipelines.models,
            device=config.work.device,
            equipment=equipment,
        )
        return request, catalog.available[name].pipeline.limits.seconds

    return ask


def deliver(config: Config, stop: threading.Event) -> None:
    """Run a courier until ``stop`` is set."""
    with ExitStack() as stack:
        role = Role(config, "deliver", stack)
        caller = caller_of(config)

        def send(destination: Destination, deliveries: Sequence[Delivery]) -> dict[str, Answer]:
            files = [scu.read_outgoing(role.spool.path(delivery.object.key)) for delivery in deliveries]
            return scu.store(caller, destination, [file for file in files if file is not None])

        courier = Courier(role.ledger, role.spool, destinations_of(config), send)

        def do(task: Work) -> Outcome:
            parcel = courier.bring(task)
            return Outcome(settle=lambda tx: outbox.answer(tx, task, parcel.answers), error=parcel.error)

        section = config.deliver
        heart = Heart(role.ledger, section.lease_s, lambda work_id: log.warning("parcel.late", work_id=work_id))
        loop = Loop(role.ledger, role.engine, heart, _policy(section), do, courier.give_up, identity=role.identity, lease_s=section.lease_s)
        _run_queue(role, "deliver", heart, loop, section, stop)


def _policy(section: RetrySection) -> RetryPolicy:
    return RetryPolicy(attempts=section.attempts, crashes=section.crashes, first_s=section.retry_first_s, most_s=section.retry_most_s)


def _run_queue(role: Role, kind: WorkKind, heart: Heart, loop: Loop, section: RetrySection, stop: threading.Event) -> None:
    heart.start()
    executor = Executor(role.config.database_url, kind, role.identity, loop.perform)
    executor.start()
    log.info("queue.opened", kind=kind)
    Reaper(role.ledger, role.engine, section.lease_s, heart.is_steady).run(stop)
    executor.stop(_DRAIN_S)
    heart.stop()


def replay(config: Config, work_id: str, who: str) -> None:
    """Bring refused or failed work back.

    Raises
    ------
    StateError
        If there is no such work, or it is neither refused nor failed.
    """
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(config.database_url, actor=f"replay@{who}")))
        engine = stack.enter_context(Engine(config.database_url))

        with ledger.writing() as tx:
            task = jobs.replay(tx, work_id, who, engine.dispatch)
            if task.kind == "deliver":
                outbox.replay(tx, task)
