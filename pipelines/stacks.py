"""One series -> its stacks: the phases, echoes, b-values or components that were acquired at the same places.

A stack is named by what tells it apart, ``EchoTime=12`` for example, so that the same instances always give the same names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pipelines.errors import GeometryError
from pipelines.frames import Slice
from pipelines.rules import Distinction
from pipelines.stacking import MIN_SLICES, numbers

#: By what images of one place can differ, in the order in which it is asked, and where it stands in enhanced and in classic images.
#: Times at which single slices were acquired come last: they often differ within a stack too, and then they tell none apart.
DISTINCTIONS: dict[Distinction, tuple[str, ...]] = {
    "ImageType": ("ImageType",),
    "ComplexImageComponent": ("ComplexImageComponent",),
    "EchoTime": ("EffectiveEchoTime", "EchoTime"),
    "EchoNumbers": ("EchoNumbers",),
    "InversionTime": ("InversionTimes", "InversionTime"),
    "DiffusionBValue": ("DiffusionBValue",),
    "DiffusionGradientOrientation": ("DiffusionGradientOrientation",),
    "TemporalPosition": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    "CardiacPhase": ("NominalPercentageOfCardiacPhase",),
    "TriggerTime": ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    "AcquisitionNumber": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "ContentTime": ("ContentTime",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Some slices of a series, at most one at each place unless nothing tells them apart.

    Attributes
    ----------
    key : str
        By what it is told apart, ``DiffusionBValue=1000``; empty when it is the whole series.
    by : tuple of str
        The distinctions in the key.
    members : tuple of int
        Index of each of its slices.
    """

    key: str
    by: tuple[Distinction, ...]
    members: tuple[int, ...]


def split(headers: Sequence[Dataset]) -> tuple[Stack, ...]:
    """Split the slices of one series into stacks, in the order of what tells them apart.

    Only where several slices share a place is anything split. A distinction tells stacks apart when it differs at such a place and
    each of its values has at least three places; a single slice that was acquired again is a duplicate and no stack.

    Parameters
    ----------
    headers : sequence of Dataset
        Of the slices, see `pipelines.frames`.
    """
    places = [_place_of(header) for header in headers]
    everything = tuple(range(len(headers)))
    if any(place is None for place in places):
        return (Stack(key="", by=(), members=everything),)
    return tuple(_split(Stack(key="", by=(), members=everything), headers, places))


def take(slices: Sequence[Slice], key: str) -> tuple[Slice, ...]:
    """The slices of the stack with this key; with an empty one all of a series that is a single stack.

    Raises
    ------
    GeometryError
        reason ``several_stacks`` or ``no_such_stack``.
    """
    stacks = split([each.header for each in slices])
    if not key and len(stacks) > 1:
        raise GeometryError(
            f"The series holds {len(stacks)} stacks, told apart by {' and '.join(distinctions_of(stacks))}; one volume is needed.",
            reason="several_stacks",
        )
    for found in stacks:
        if found.key == key:
            return tuple(slices[index] for index in found.members)
    raise GeometryError(f"The series has no stack {key}.", reason="no_such_stack")


def distinctions_of(stacks: Sequence[Stack]) -> tuple[Distinction, ...]:
    """By what some stacks are told apart."""
    return tuple(dict.fromkeys(name for found in stacks for name in found.by))


def _split(whole: Stack, headers: Sequence[Dataset], places: Sequence[Hashable]) -> list[Stack]:
    crowds: dict[Hashable, list[int]] = defaultdict(list)
    for index in whole.members:
        crowds[places[index]].append(index)
    if len(crowds) == len(whole.members):
        return [whole]
    for name, keywords in DISTINCTIONS.items():
        if name in whole.by:
            continue
        values = {index: _value_of(headers[index], keywords) for index in whole.members}
        parts: dict[str, list[int]] = defaultdict(list)
        for index, value in values.items():
            parts[value].append(index)
        tells = any(len({values[index] for index in crowd}) > 1 for crowd in crowds.values())
        if tells and all(len({places[index] for index in part}) >= MIN_SLICES for part in parts.values()):
            keyed = [
                Stack(key=", ".join(filter(None, (whole.key, f"{name}={value}"))), by=(*whole.by, name), members=tuple(part))
                for value, part in sorted(parts.items(), key=lambda each: _natural(each[0]))
            ]
            return [found for part in keyed for found in _split(part, headers, places)]
    return [whole]


def _natural(value: str) -> tuple[float, str]:
    """Numbers by their size, before texts."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _place_of(header: Dataset) -> tuple[float, ...] | None:
    """Where a slice lies, to a hundredth of a millimetre; those that differ by rounding alone are for `pipelines.stacking` to refuse."""
    position, cosines = numbers(header, "ImagePositionPatient", 3), numbers(header, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return None
    return (*np.round(position, 2).tolist(), *np.round(cosines, 3).tolist())


def _value_of(header: Dataset, keywords: Sequence[str]) -> str:
    """The first of some elements that is there, as text; numbers to six digits."""
    value = next((header.get(keyword) for keyword in keywords if header.get(keyword) not in (None, "")), None)
    if value is None:
        return "none"
    values = [value] if isinstance(value, str | int | float) else list(value)
    return "\\".join(f"{float(one):g}" if isinstance(one, int | float) else str(one) for one in values)
