"""How an image was made is read from classic and from enhanced headers alike."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from pipelines.physics import contrast_of, range_of, sequence_of


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


GIVEN = header(ContrastBolusUsageSequence=[header(ContrastBolusAgentAdministered="YES")])
WITHHELD = header(
    ContrastBolusUsageSequence=[header(ContrastBolusAgentAdministered="NO")], ContrastBolusAgentSequence=[header(CodeValue="1")]
)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([header()], "none"),
        ([header(ContrastBolusAgent="")], "none"),
        ([header(ContrastBolusAgent="None")], "none"),
        ([header(ContrastBolusAgent="Iomeron")], "given"),
        ([header(ContrastBolusVolume="80")], "given"),
        ([header(ContrastBolusVolume="0")], "none"),
        ([header(ContrastBolusAgentSequence=[header(CodeValue="1")])], "given"),
        ([GIVEN], "given"),
        ([WITHHELD], "none"),
        ([GIVEN, header()], "mixed"),
    ],
)
def test_contrast_is_given_when_something_says_so(headers: list[Dataset], found: str) -> None:
    assert contrast_of(headers) == found


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (header(ScanningSequence="GR"), {"GR"}),
        (header(ScanningSequence=["SE", "IR"]), {"SE", "IR"}),
        (header(EchoPulseSequence="SPIN", InversionRecovery="YES", EchoPlanarPulseSequence="NO"), {"SE", "IR"}),
        (header(EchoPulseSequence="BOTH", InversionRecovery="NO", EchoPlanarPulseSequence="YES"), {"SE", "GR", "EP"}),
        (header(), set()),
    ],
)
def test_the_sequence_has_one_name_in_both(one: Dataset, found: set[str]) -> None:
    assert sequence_of([one]) == found


def test_a_number_has_a_range_or_is_unknown() -> None:
    assert range_of([header(EchoTime="12"), header(EffectiveEchoTime=14.5)], "EchoTime", "EffectiveEchoTime") == (12.0, 14.5)
    assert range_of([header(InversionTimes=[200.0, 900.0])], "InversionTime", "InversionTimes") == (200.0, 900.0)
    assert range_of([header(EchoTime="12"), header()], "EchoTime") is None
    assert range_of([header(InversionTime="0")], "InversionTime") is None
    assert range_of([header(DiffusionBValue=0.0)], "DiffusionBValue") == (0.0, 0.0)
