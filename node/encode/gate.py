"""The last gate before an object leaves: the stored bytes are read again and compared with the source and the label map.

No validator of DICOM notices a mask that is flipped, a frame that lies one slice off or a report that speaks of another
segment; this does. What fails is never repaired: nothing is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from node.core.errors import EncodeError
from node.core.job import Job
from node.core.result import EncodedObject, ObjectKind
from node.encode.gate_identity import check_identity, check_marking, check_uids
from node.encode.gate_report import Question, check_document, check_evidence, check_groups
from node.encode.gate_segmentation import check_grid, check_segments, check_voxels
from pipelines.result import Channels, Inference, LabelMap
from pipelines.spec import Pipeline

#: What reading a data set that is not as it should be may raise, in pydicom and in the checks.
FAULTS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)

Check = Callable[[Dataset], Iterator[str]]


def inspect(objects: Sequence[EncodedObject], inference: Inference, job: Job, pipeline: Pipeline) -> None:
    """Prove that the objects of one job are what they should be, from their bytes alone.

    Raises
    ------
    EncodeError
        With every failure that was found.
    """
    failures = list(find_failures(objects, inference, job, pipeline))
    if failures:
        raise EncodeError(f"The objects would be wrong, so none is sent: {'; '.join(failures)}.", reason="gate")


def find_failures(objects: Sequence[EncodedObject], inference: Inference, job: Job, pipeline: Pipeline) -> Iterator[str]:
    """Find everything that is wrong with the objects of one job, each as a sentence that begins with the kind of object."""
    datasets: dict[str, Dataset] = {}
    for encoded in objects:
        try:
            datasets[encoded.kind] = dcmread(BytesIO(encoded.content))
        except FAULTS as error:
            yield f"{encoded.kind}: cannot be read again ({type(error).__name__})"
    expected = list_kinds(inference)
    if [encoded.kind for encoded in objects] != expected or len(datasets) != len(expected):
        yield f"not one {' and one '.join(expected)} in this order"
        return
    for encoded in objects:
        yield from _run(encoded.kind, _common_checks(encoded, inference, job), datasets[encoded.kind])
    segmentation, report = datasets.get("SEG"), datasets["SR"]
    if segmentation is not None:
        yield from _run("SEG", [lambda seg: check_grid(seg, inference), lambda seg: check_segments(seg, inference, job)], segmentation)
        yield from _run("SEG", [lambda seg: check_voxels(seg, inference)], segmentation)
    yield from _run("SR", [lambda sr: check_document(sr, inference), lambda sr: check_evidence(sr, segmentation, inference)], report)
    yield from _run("SR", [lambda sr: check_groups(sr, segmentation, Question(inference, job, pipeline))], report)


def list_kinds(inference: Inference) -> list[ObjectKind]:
    """List the kinds of object that a result is told in: a report, and before it a Segmentation if any voxel has a label."""
    segmented = isinstance(inference.output, LabelMap | Channels) and inference.output.present()
    return ["SEG", "SR"] if segmented else ["SR"]


def _common_checks(encoded: EncodedObject, inference: Inference, job: Job) -> list[Check]:
    return [
        lambda dataset: check_identity(dataset, inference),
        lambda dataset: check_uids(dataset, encoded, inference, job),
        lambda dataset: check_marking(dataset, inference, job),
    ]


def _run(kind: str, checks: Sequence[Check], dataset: Dataset) -> Iterator[str]:
    """Run checks; one that stumbles over something missing or malformed has found a failure too."""
    for check in checks:
        try:
            for failure in check(dataset):
                yield f"{kind}: {failure}"
        except FAULTS as error:
            yield f"{kind}: cannot be inspected ({type(error).__name__}: {error})"
