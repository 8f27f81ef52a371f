"""One instance -> its slices: a classic image is one, a multi-frame image one for each frame, with a header as a classic image has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from pipelines.errors import UnsupportedPixelData

#: Functional group macros whose attributes a classic image has in its data set: PS3.3 C.7.6.16.2 (common ones), C.8.13.5 (MR), C.8.15.3
#: (CT), C.8.22.5 (PET), and what a legacy converted image could not place (C.7.6.16.2.25).
GROUPS = (
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "FrameContentSequence",
    "FrameAnatomySequence",
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "TemporalPositionSequence",
    "CardiacSynchronizationSequence",
    "RespiratorySynchronizationSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "MRImageFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRModifierSequence",
    "MRDiffusionSequence",
    "PETFrameTypeSequence",
)
#: May have an item for each agent, and is kept as it is.
CONTRAST = "ContrastBolusUsageSequence"
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

Elements = dict[BaseTag, DataElement | RawDataElement]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """One image plane of a series.

    Attributes
    ----------
    header : Dataset
        Without pixels. Of a frame it is the header of its instance, in which the attributes of the frame's functional groups stand where a
        classic image has them; Frame Type (0008,9007) stands as Image Type (0008,0008).
    instance : int
        Index of the instance in the series' files.
    frame : int
        From 1 in its multi-frame instance (PS3.3 C.7.6.6); 0 for a classic image.
    """

    header: Dataset
    instance: int
    frame: int


def slices_of(headers: Sequence[Dataset]) -> tuple[Slice, ...]:
    """List the slices of a series' instances, in their order.

    Raises
    ------
    UnsupportedPixelData
        reason ``frames``: a multi-frame instance does not describe each of its frames, or stands beside single-frame ones.
    """
    found = tuple(each for index, header in enumerate(headers) for each in _slices_in(header, index))
    if len({each.frame == 0 for each in found}) > 1:
        raise UnsupportedPixelData("The series mixes single-frame and multi-frame instances.", reason="frames")
    return found


def _slices_in(header: Dataset, index: int) -> Iterator[Slice]:
    per_frame = header.get(PER_FRAME)
    if not per_frame:
        yield Slice(header=header, instance=index, frame=0)
        return
    if len(per_frame) != int(header.get("NumberOfFrames") or 0):
        raise UnsupportedPixelData(
            f"A multi-frame instance has {header.get('NumberOfFrames')} frames, but describes {len(per_frame)}.", reason="frames"
        )
    common: Elements = dict(header.items())
    for keyword in (SHARED, PER_FRAME):
        common.pop(Tag(keyword), None)
    for groups in header.get(SHARED) or ():
        common |= _flat(groups)
    for number, groups in enumerate(per_frame, start=1):
        yield Slice(header=_as_classic(header, common | _flat(groups)), instance=index, frame=number)


def _flat(groups: Dataset) -> Elements:
    """The attributes of one set of functional groups, without the sequences around them."""
    found: Elements = {}
    for keyword in GROUPS:
        for macro in (groups.get(keyword) or ())[:1]:
            found.update(macro.items())
    if CONTRAST in groups:
        found[Tag(CONTRAST)] = groups[CONTRAST]
    return found


def _as_classic(instance: Dataset, elements: Elements) -> Dataset:
    header = Dataset(elements)
    if hasattr(instance, "file_meta"):
        header.file_meta = instance.file_meta
    if "FrameType" in header:
        header.ImageType = header.FrameType
    return header
