"""One series against one rule, criterion by criterion: what is wanted, what was found, and whether it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.declaration import Span
from pipelines.facts import SeriesFacts
from pipelines.physics import Range
from pipelines.rules import SeriesRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that a rule asks for.

    Attributes
    ----------
    code : str
        Stable: ``modality``, ``slice_spacing`` ... what a refusal is counted by.
    title, wanted, found : str
        For people.
    """

    code: str
    title: str
    wanted: str
    found: str
    holds: bool

    @property
    def sentence(self) -> str:
        """What a series that does not meet it is told."""
        return f"{self.title} is {self.found}, wanted is {self.wanted}."


def judge(rule: SeriesRule, facts: SeriesFacts) -> tuple[Criterion, ...]:
    """Hold a series against everything that a rule states, in the order of its importance; what it leaves open is not listed."""
    return (*_of_kind(rule, facts), *_of_geometry(rule, facts), *_of_physics(rule, facts), *_of_text(rule, facts))


def _of_kind(rule: SeriesRule, facts: SeriesFacts) -> Iterator[Criterion]:
    yield _one_of("modality", "Modality", rule.modality, facts.modality)
    if rule.sop_class_uid:
        holds = set(facts.sop_class_uids) <= set(rule.sop_class_uid)
        yield _criterion("sop_class", "SOP class", _listed(rule.sop_class_uid), _listed(facts.sop_class_uids), holds)
    if rule.image_type_all or rule.image_type_none:
        wanted = f"{_listed(rule.image_type_all)} everywhere and {_listed(rule.image_type_none)} nowhere"
        holds = facts.image_type_everywhere.issuperset(rule.image_type_all) and facts.image_type_anywhere.isdisjoint(rule.image_type_none)
        yield _criterion("image_type", "Image Type", wanted, _listed(sorted(facts.image_type_anywhere)), holds)
    if rule.body_part:
        yield _one_of("body_part", "Body part", rule.body_part, facts.body_part)
    if rule.view_position:
        yield _one_of("view_position", "View position", rule.view_position, facts.view_position)


def _of_geometry(rule: SeriesRule, facts: SeriesFacts) -> Iterator[Criterion]:
    if rule.orientation != "any":
        yield _criterion("orientation", "Orientation", rule.orientation, facts.orientation, rule.orientation == facts.orientation)
    if facts.split_by:
        wanted = f"by {_listed(rule.stacks_by)}" if rule.stacks_by else "a series of one stack"
        yield _criterion(
            "stacks", "The stack", wanted, f"one of several by {_listed(facts.split_by)}", set(facts.split_by) <= set(rule.stacks_by)
        )
    yield _criterion("instances", "Size", f"{rule.instances}", f"{facts.instances} instances", facts.instances in rule.instances)
    yield from _within("slice_thickness", "Slice thickness", rule.slice_thickness_mm, facts.slice_thickness_mm, "mm")
    unknown = f"unknown ({facts.fault})" if facts.fault else "missing"
    yield from _within("slice_spacing", "Distance between slices", rule.slice_spacing_mm, facts.slice_spacing_mm, "mm", unknown)
    yield from _within("coverage", "Coverage", rule.coverage_mm, facts.coverage_mm, "mm", unknown)


def _of_physics(rule: SeriesRule, facts: SeriesFacts) -> Iterator[Criterion]:
    if rule.kernel_pattern:
        holds = bool(facts.kernels) and all(re.search(rule.kernel_pattern, kernel, re.IGNORECASE) for kernel in facts.kernels)
        yield _criterion("kernel", "Convolution kernel", f"like {rule.kernel_pattern!r}", _listed(facts.kernels), holds)
    if rule.contrast != "any":
        yield _criterion("contrast", "Contrast agent", rule.contrast, facts.contrast, rule.contrast == facts.contrast)
    if rule.sequence_all or rule.sequence_none:
        holds = facts.sequence.issuperset(rule.sequence_all) and facts.sequence.isdisjoint(rule.sequence_none)
        wanted = f"with {_listed(rule.sequence_all)} and without {_listed(rule.sequence_none)}"
        # Without a sequence it is not known what there is not.
        yield _criterion("sequence", "Scanning sequence", wanted, _listed(sorted(facts.sequence)), holds and bool(facts.sequence))
    yield from _within("echo_time", "Echo time", rule.echo_time_ms, facts.echo_time_ms, "ms")
    yield from _within("repetition_time", "Repetition time", rule.repetition_time_ms, facts.repetition_time_ms, "ms")
    yield from _within("inversion_time", "Inversion time", rule.inversion_time_ms, facts.inversion_time_ms, "ms")
    yield from _within("b_value", "Diffusion b-value", rule.b_value, facts.b_value, "s/mm2")


def _of_text(rule: SeriesRule, facts: SeriesFacts) -> Iterator[Criterion]:
    if rule.description_pattern:
        holds = re.search(rule.description_pattern, facts.description, re.IGNORECASE) is not None
        # What was found may hold anything that somebody typed, a name too: it is not repeated.
        yield _criterion(
            "description", "Series description", f"like {rule.description_pattern!r}", "like it" if holds else "another", holds
        )


def _one_of(code: str, title: str, wanted: tuple[str, ...], found: str) -> Criterion:
    return _criterion(code, title, " or ".join(wanted) or "nothing", found or "missing", found in wanted)


def _within(
    code: str, title: str, span: Span | None, found: float | Range | None, unit: str, unknown: str = "missing"
) -> Iterator[Criterion]:
    if span is None:
        return
    ends = () if found is None else found if isinstance(found, tuple) else (found,)
    text = " to ".join(dict.fromkeys(f"{end:g}" for end in ends))
    holds = bool(ends) and all(round(end, 4) in span for end in ends)
    yield _criterion(code, title, f"{span} {unit}", f"{text} {unit}" if ends else unknown, holds)


def _criterion(code: str, title: str, wanted: str, found: str, holds: bool) -> Criterion:
    return Criterion(code=code, title=title, wanted=wanted, found=found, holds=holds)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"
