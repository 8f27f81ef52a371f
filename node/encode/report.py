"""The Structured Report (PS3.3 A.35.13, Comprehensive 3D SR): what was measured, by template TID 1500 "Measurement Report"."""

from __future__ import annotations

from typing import Any

from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as CodedValue
from pydicom.uid import ExplicitVRLittleEndian

from node.core.errors import EncodeError
from node.encode.absence import CONTAINS, MODIFIES, count_nothing, evaluate_absence
from node.encode.equipment import sign
from node.encode.groups import list_groups
from node.encode.making import Making, Segment, device_uid
from node.encode.source import list_evidence

SERIES_NUMBER = 902

ENGLISH = CodedValue("en-US", "RFC5646", "English (United States)")

#: Procedure Reported (121058, DCM) by the source's Modality (0008,0060), from CID 100.
PROCEDURES = {
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "NM": codes.cid100.NMUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "CR": codes.cid100.XRUnspecifiedBodyRegion,
    "DX": codes.cid100.XRUnspecifiedBodyRegion,
}


def encode_report(making: Making, segments: tuple[Segment, ...], segmentation: Segmentation | None) -> sr.Comprehensive3DSR:
    """Encode the findings, or that there are none, as an unverified, preliminary Comprehensive 3D SR in Explicit VR Little Endian.

    Raises
    ------
    EncodeError
        When there is no Procedure Reported for the modality, or a measured value is not a number.
    """
    sources = list_evidence(making.inference)
    dataset = sr.Comprehensive3DSR(
        # sources first: highdicom takes patient, study and scanner from the first
        evidence=sources if segmentation is None else [*sources, segmentation],
        content=_compose(making, list_groups(making, segments, segmentation)),
        series_instance_uid=making.job.derive_uid("SR", "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=making.job.derive_uid("SR", "instance"),
        instance_number=1,
        manufacturer=making.equipment.manufacturer,
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=None,
    )
    sign(dataset, "SR", making)
    return dataset


def _compose(making: Making, groups: list[Any]) -> sr.ContainerContentItem:
    """Write the root of TID 1500. The observer is the model, not the host that it ran on (IHE AIR section 6.5.3.1)."""
    modality = str(making.header.get("Modality", ""))
    if modality not in PROCEDURES:
        raise EncodeError(f"There is no Procedure Reported for modality {modality!r}.", reason="procedure")
    model = making.model
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(model), name=model.name, manufacturer_name=model.manufacturer, model_name=model.name
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    root = sr.ContainerContentItem(codes.DCM.ImagingMeasurementReport, template_id="1500")
    root.ContentSequence = sr.ContentSequence()
    root.ContentSequence.extend(sr.LanguageOfContentItemAndDescendants(ENGLISH))
    root.ContentSequence.extend(sr.ObservationContext(observer_device_context=observer))
    root.ContentSequence.append(sr.CodeContentItem(codes.DCM.ProcedureReported, PROCEDURES[modality], MODIFIES))
    root.ContentSequence.append(_gather(groups or [count_nothing(making)]))
    if not groups:
        root.ContentSequence.append(evaluate_absence(making))
    return root


def _gather(groups: list[Any]) -> sr.ContainerContentItem:
    container = sr.ContainerContentItem(codes.DCM.ImagingMeasurements, relationship_type=CONTAINS)
    container.ContentSequence = sr.ContentSequence()
    for group in groups:
        container.ContentSequence.extend(group)
    return container
