"""From one inference to the objects that are owed: the Segmentation, if anything was segmented, then the report."""

from __future__ import annotations

from pydicom.dataset import Dataset

from node.core.errors import EncodeError
from node.core.job import Job
from node.core.result import EncodedObject, Equipment, ObjectKind
from node.encode.equipment import write_part10
from node.encode.making import Making, check_source, check_text
from node.encode.report import encode_report
from node.encode.segmentation import encode_segmentation
from pipelines.result import Inference
from pipelines.spec import Pipeline


def encode(inference: Inference, job: Job, equipment: Equipment, pipeline: Pipeline) -> tuple[EncodedObject, ...]:
    """Encode the results of one job: a Segmentation and a Structured Report, in the order in which they must be sent.

    Where no label has a voxel, there is no Segmentation, and the report says that nothing was found.

    The same arguments give the same bytes. Nothing is checked but the source: ``gate.inspect`` does that, on the bytes.

    Raises
    ------
    IdentityConflict
        When the source lacks a Patient ID or a Study Instance UID, or is not what the job names.
    EncodeError
        When the objects cannot be built.
    """
    check_source(inference, job)
    making = Making(inference=inference, job=job, equipment=equipment, pipeline=pipeline)
    check_text(making)
    segments = making.segments()
    try:
        segmentation = encode_segmentation(making, segments) if segments else None
        report = encode_report(making, segments, segmentation)
        made = () if segmentation is None else (_seal("SEG", segmentation, making),)
        return (*made, _seal("SR", report, making))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # the libraries' own refusals; their text is left in the traceback because it may quote the source
        raise EncodeError(f"The objects could not be built ({type(error).__name__}); see the traceback.", reason="build") from error


def _seal(kind: ObjectKind, dataset: Dataset, making: Making) -> EncodedObject:
    return EncodedObject(
        kind=kind,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        content=write_part10(dataset, making.equipment.software_version),
    )
