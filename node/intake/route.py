"""A complete study -> the jobs that it gives rise to, or for each pipeline the reasons why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from node.core.errors import CodedError, IdentityConflict, InputError, NoUsableSeries
from node.core.study import Instance
from pipelines.catalog import Catalog, Entry
from pipelines.facts import SeriesFacts, survey
from pipelines.selection import Choice, choose
from pipelines.series import read_headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A pipeline takes these series, in the order of its inputs, and of each the stack; ``stacks`` is empty when all are single ones."""

    pipeline: str
    model_digest: str
    series_instance_uids: tuple[str, ...]
    stacks: tuple[str, ...]
    input_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """A pipeline takes nothing of the study, and why: the verdict, and the reason for each series."""

    pipeline: str
    code: str
    sentence: str
    series: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What every pipeline said to a study."""

    taken: tuple[Taken, ...]
    not_taken: tuple[NotTaken, ...]


def route(instances: Sequence[Instance], paths: Mapping[str, Path], catalog: Catalog, enabled: Sequence[str]) -> Routing:
    """Ask every enabled pipeline what it takes of a study.

    Parameters
    ----------
    instances : sequence of Instance
        All that the study holds at the revision in question.
    paths : mapping
        SOP Instance UID -> file.
    catalog : Catalog
        Which pipelines are available, and why the others are not.
    """
    taken: list[Taken] = []
    not_taken: list[NotTaken] = []
    series = {uid: tuple(found) for uid, found in groupby(_sorted(instances), key=lambda instance: instance.series_instance_uid)}
    entries = [catalog.available[name] for name in enabled if name in catalog.available]
    wanted = {modality for entry in entries for given in entry.pipeline.inputs for modality in given.modality}
    facts, unread = _read_facts(series, paths, wanted)
    for name in enabled:
        try:
            _check(name, catalog, instances)
            entry = catalog.available[name]
            taken.extend(_ask(entry, facts, unread, series))
        except _NothingTaken as nothing:
            code = NoUsableSeries(str(nothing), reason=nothing.code).full_code
            not_taken.append(NotTaken(pipeline=name, code=code, sentence=str(nothing), series=nothing.reasons))
        except CodedError as error:
            not_taken.append(NotTaken(pipeline=name, code=error.full_code, sentence=error.sentence, series={}))
    return Routing(taken=tuple(taken), not_taken=tuple(not_taken))


class _NothingTaken(Exception):
    """The one reason that every series has in common is the code, so that it can be counted in SQL; empty when they differ."""

    def __init__(self, choice: Choice, unread: Mapping[str, str]) -> None:
        super().__init__(" ".join(choice.missing) or "No series of the study is what this pipeline takes.")
        self.reasons = {**unread, **{name: f"{reason.code}: {reason.sentence}" for name, reason in choice.reasons.items()}}
        codes = {reason.partition(":")[0] for reason in self.reasons.values()}
        self.code = "incomplete" if "incomplete" in codes else codes.pop() if len(codes) == 1 else ""


def _check(name: str, catalog: Catalog, instances: Sequence[Instance]) -> None:
    if name in catalog.unavailable:
        raise catalog.unavailable[name]
    if len({instance.patient_id for instance in instances}) > 1:
        raise IdentityConflict("The study holds instances of more than one Patient ID; correct it at its source.", reason="mixed")


def _read_facts(
    series: Mapping[str, Sequence[Instance]], paths: Mapping[str, Path], modalities: Iterable[str]
) -> tuple[list[SeriesFacts], dict[str, str]]:
    """Read the headers of every series that some pipeline could want; the others need not be opened to know why not."""
    facts: list[SeriesFacts] = []
    unread: dict[str, str] = {}
    wanted = frozenset(modalities)
    for uid, members in series.items():
        if not wanted & {member.modality for member in members}:
            unread[uid] = f"modality: Modality is {members[0].modality or 'missing'}, wanted is {' or '.join(sorted(wanted)) or 'nothing'}."
            continue
        try:
            facts.extend(survey(read_headers(paths[member.sop_instance_uid] for member in members)))
        except InputError as error:
            unread[uid] = str(error)
    return facts, unread


def _ask(entry: Entry, facts: Sequence[SeriesFacts], unread: Mapping[str, str], series: Mapping[str, Sequence[Instance]]) -> list[Taken]:
    choice = choose(entry.pipeline.inputs, facts)
    if not choice.sets:
        raise _NothingTaken(choice, unread)
    return [
        Taken(
            pipeline=entry.pipeline.name,
            model_digest=entry.model.digest,
            series_instance_uids=tuple(found.series_instance_uid for found in inputs),
            stacks=tuple(found.stack for found in inputs) if any(found.stack for found in inputs) else (),
            input_sha256=_digest(inputs, series),
        )
        for inputs in choice.sets
    ]


def _sorted(instances: Iterable[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda instance: (instance.series_instance_uid, instance.sop_instance_uid))


def _digest(inputs: Sequence[SeriesFacts], series: Mapping[str, Sequence[Instance]]) -> str:
    """Over what is in the instances of every input, in order, and which stack of them it is."""
    parts = []
    for found in inputs:
        lines = [f"{instance.sop_instance_uid} {instance.sha256}" for instance in series[found.series_instance_uid]]
        parts.append("\n".join([*lines, f"stack {found.stack}"] if found.stack else lines))
    return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()
