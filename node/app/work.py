"""The role that infers: one light parent with the leases, one child for each warm model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import zip_longest

from node import __version__, process
from node.app.attendant import Attendant
from node.app.remotes import destinations_of
from node.app.role import Role, policy_of, read_catalog, run_queue
from node.app.schedule import shadow_of
from node.config import Config
from node.core.job import Job, Work
from node.core.result import Equipment
from node.ledger import spooled
from node.work.infer import Files, Inference
from node.work.lease import Heart
from node.work.loop import Loop
from pipelines.catalog import Catalog
from pipelines.result import SeriesFiles


def run(config: Config, stop: threading.Event) -> None:
    """Run a worker until ``stop`` is set."""
    with ExitStack() as stack:
        role = Role(config, "work", stack)
        role.spool.recover(lambda key: role.ledger.write(lambda tx: spooled.is_known(tx, key)))
        catalog = read_catalog(config)
        attendant = Attendant(role)
        device = attendant.device
        stack.callback(device.close)
        if not attendant.into_service(stop):
            return
        for name in set(config.every_pipeline) & set(catalog.available):
            section, digest = config.pipelines, catalog.available[name].model.digest
            device.prepare(digest, process.warm_up, section.folder / name / "pipeline.toml", section.models, attendant.place, digest)
        ask = _requests(config, catalog, attendant.place)
        shadow = shadow_of(config)
        station = Inference(
            *(role.ledger, role.spool, device, ask, list(destinations_of(config)), role.engine.dispatch),
            family=attendant.family,
            shadow=shadow,
        )
        heart = Heart(role.ledger, config.work.lease_s, device.cancel)
        loop = Loop(
            role.ledger,
            role.engine,
            heart,
            policy_of(config.work),
            station.do,
            station.give_up,
            identity=role.identity,
            lease_s=config.work.lease_s,
        )
        run_queue(role, "infer", heart, loop, config.work, stop)


def _requests(config: Config, catalog: Catalog, device: str) -> Callable[[Work, Files], tuple[process.Request, float]]:
    equipment = Equipment(**config.equipment.model_dump(), software_version=__version__)

    def ask(task: Work, files: Files) -> tuple[process.Request, float]:
        name, job = task.job.pipeline, task.job
        if name in catalog.unavailable:
            raise catalog.unavailable[name]
        request = process.Request(
            job=job,
            inputs=inputs_of(job, files),
            pipelines=config.pipelines.folder,
            models=config.pipelines.models,
            device=device,
            equipment=equipment,
        )
        return request, catalog.available[name].pipeline.limits.seconds

    return ask


def inputs_of(job: Job, files: Files) -> tuple[SeriesFiles, ...]:
    """The files of each input of a job, in the pipeline's order, and which stack of them is meant."""
    return tuple(
        SeriesFiles(series_instance_uid=uid, paths=tuple(files[uid]), stack=stack)
        for uid, stack in zip_longest(job.series_instance_uids, job.stacks, fillvalue="")
    )
