"""What must be true of the numbers in a measurement group: they are the finding's, with its names, units and derivations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from node.encode.content import codes_of, name_of, number_of
from pipelines.result import Measurement

#: What a value may lose by being written with three decimals.
ROUNDING = 0.0005 + 1e-9


def check_numbers(content: Sequence[Dataset], measurements: Sequence[Measurement]) -> Iterator[str]:
    """Compare the NUM items of a group with measurements, in their order."""
    numbers = [item for item in content if item.ValueType == "NUM"]
    if len(numbers) != len(measurements):
        yield "it has not the finding's measurements"
        return
    for item, measured in zip(numbers, measurements, strict=True):
        unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
        if (name_of(item), unit.CodeValue) != (measured.name.value, measured.unit.value):
            yield f"a measurement is not {measured.name.meaning} in {measured.unit.value}"
        if abs(number_of(item) - measured.value) > ROUNDING:
            yield f"{measured.name.meaning} is not the measured value"
        derivations = codes_of(item.get("ContentSequence", []), "121401")
        if derivations != ([(measured.derivation.value, measured.derivation.scheme)] if measured.derivation else []):
            yield f"{measured.name.meaning} has another derivation"
