"""The Structured Report (PS3.3 A.35.13, Comprehensive 3D SR): what was measured, by template TID 1500 "Measurement Report"."""

from __future__ import annotations

from typing import Any

from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as CodedValue
from pydicom.uid import ExplicitVRLittleEndian

from node.core.errors import EncodeError
from node.encode.equipment import sign
from node.encode.groups import list_groups
from node.encode.making import Making, Segment, device_uid
from node.encode.source import list_stand_ins

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
    stand_ins = list_stand_ins(making.inference)
    dataset = sr.Comprehensive3DSR(
        # sources first: highdicom takes patient, study and scanner from the first
        evidence=stand_ins if segmentation is None else [*stand_ins, segmentation],
        content=_compose(making, list_groups(making, segments, segmentation, stand_ins)),
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


def _compose(making: Making, groups: list[Any]) -> sr.MeasurementReport:
    """Write the root of TID 1500. The observer is the model, not the host that it ran on (IHE AIR section 6.5.3.1)."""
    modality = str(making.header.get("Modality", ""))
    if modality not in PROCEDURES:
        raise EncodeError(f"There is no Procedure Reported for modality {modality!r}.", reason="procedure")
    model = making.model
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(model), name=model.name, manufacturer_name=model.manufacturer, model_name=model.name
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=PROCEDURES[modality],
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(ENGLISH),
    )
