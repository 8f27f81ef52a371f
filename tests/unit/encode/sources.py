"""A small synthetic chest CT with two lungs, as one job would have found it: what the tests of the encoder encode."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from node.core.job import Job
from node.core.result import Equipment
from node.core.uids import derive_uid
from pipelines.geometry import Grid
from pipelines.measure import measure
from pipelines.result import Box, Boxes, Channels, Code, Finding, Inference, LabelMap, Measurement, Model, Output, Scores, Volume
from pipelines.spec import Concept, Input, Label, Limits, MeasurementRule, Outputs, Pipeline, Span

ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "feet_first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),  # slices run from head to feet
    "prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.96, 0.28, 0.0, -0.224, 0.768, 0.6),
}

#: What a projection image lacks beside a Frame of Reference and a position.
NO_PLANE = ("ImageOrientationPatient", "PixelSpacing", "SliceThickness")

ANATOMICAL = Code(value="123037004", scheme="SCT", meaning="Anatomical Structure")
LUNG = Code(value="39607008", scheme="SCT", meaning="Lung")
RIGHT = Code(value="24028007", scheme="SCT", meaning="Right")
LEFT = Code(value="7771000", scheme="SCT", meaning="Left")
VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
MILLILITRE = Code(value="ml", scheme="UCUM", meaning="milliliter")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
HOUNSFIELD = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")

BELOW = Code(value="PCT_BELOW_-950", scheme="99RADNODE", meaning="Percentage of voxels below -950 HU")
PERCENT = Code(value="%", scheme="UCUM", meaning="percent")

MODEL = Model(name="ct_lungs", version="1.0.0", manufacturer="The RadNode authors", digest="ab" * 32)
EQUIPMENT = Equipment(manufacturer="RadNode", model_name="radnode", software_version="0.1.0", serial_number="NODE-0001")

PIPELINE = Pipeline(
    name="ct_lungs",
    title="Lung volumes",
    bundle="ct_lungs",
    intended_use="Tests.",
    inputs=(Input(modality=("CT",)),),
    limits=Limits(
        slice_spacing_mm=Span(min=0.1, max=9),
        pixel_spacing_mm=Span(min=0.1, max=9),
        coverage_mm=Span(min=1, max=999),
        max_voxels=10**9,
        seconds=60,
    ),
    labels=(
        Label(
            value=1,
            name="Right lung",
            category=Concept(value="123037004", scheme="SCT", meaning="Anatomical Structure"),
            type=Concept(value="39607008", scheme="SCT", meaning="Lung"),
            rgb=(224, 170, 120),
        ),
    ),
    measurements=(MeasurementRule(kind="volume_ml"),),
)

ABNORMAL = Concept(value="49755003", scheme="SCT", meaning="Morphologically Altered Structure")
TUMOUR = Concept(value="108369006", scheme="SCT", meaning="Neoplasm")

#: Two channels of which one lies within the other, counted from 0 as a bundle does.
TUMOURS = PIPELINE.model_copy(
    update={
        "title": "Tumour regions",
        "labels": (
            Label(value=0, name="Whole tumour", category=ABNORMAL, type=TUMOUR, rgb=(250, 60, 60)),
            Label(
                value=1,
                name="Tumour core",
                category=ABNORMAL,
                type=Concept(value="4147007", scheme="SCT", meaning="Mass"),
                rgb=(60, 250, 60),
            ),
        ),
        "outputs": Outputs(kind="channels"),
    }
)

NODULES = TUMOURS.model_copy(
    update={
        "title": "Lung nodules",
        "labels": (
            Label(
                value=0,
                name="Lung nodule",
                category=ABNORMAL,
                type=Concept(value="427359005", scheme="SCT", meaning="Solitary nodule of lung"),
                rgb=(250, 60, 60),
            ),
        ),
        "measurements": (MeasurementRule(kind="diameter_mm"), MeasurementRule(kind="size_mm")),
        "outputs": Outputs(kind="boxes", min_score=0.2),
    }
)

FINDINGS = NODULES.model_copy(
    update={
        "title": "Chest findings",
        "labels": (
            NODULES.labels[0],
            Label(
                value=1,
                name="Pleural effusion",
                category=ABNORMAL,
                type=Concept(value="60046008", scheme="SCT", meaning="Pleural effusion"),
                rgb=(60, 60, 250),
            ),
        ),
        "measurements": (),
        "outputs": Outputs(kind="scores"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """What the encoder is given."""

    inference: Inference
    job: Job


def make_case(
    orientation: str = "axial", shape: tuple[int, int, int] = (12, 44, 37), header: Dataset | None = None, drop: tuple[str, ...] = ()
) -> Case:
    """Make a source series, a label map on it and the findings.

    Parameters
    ----------
    orientation : str
        A key of ``ORIENTATIONS``.
    shape : tuple of int
        (slices, rows, columns); the columns are no multiple of eight, so that frames do not end at a byte.
    header : Dataset, optional
        Attributes to set in every instance.
    drop : tuple of str
        Keywords of attributes that no instance shall have.
    """
    grid = _make_grid(orientation, shape)
    array = np.full(shape, -50.0, dtype=np.float32)
    labels = make_lungs(shape)
    array[labels > 0] = -850.0
    headers = tuple(_make_header(grid, index, header or Dataset(), drop) for index in range(shape[0]))
    volume = Volume(array=array, grid=grid, headers=headers, series_instance_uid=derive_uid("test", "series"))
    findings = (_measure(1, "Right lung", RIGHT, labels, grid), _measure(2, "Left lung", LEFT, labels, grid))
    inference = Inference(
        pipeline="ct_lungs",
        model=MODEL,
        volume=volume,
        output=LabelMap(array=labels, grid=grid),
        findings=findings,
        device="cpu",
        seconds={},
    )
    return Case(inference=inference, job=make_job())


def with_output(case: Case, pipeline: Pipeline, output: Output) -> Case:
    """Let the bundle of a case have given something else, measured as ``pipeline`` says."""
    findings = measure(pipeline, case.inference.volume, output)
    return replace(case, inference=replace(case.inference, output=output, findings=findings))


def with_second_input(case: Case) -> Case:
    """Let the bundle of a case have taken a second series too, on the same grid."""
    first = case.inference.volume
    headers = []
    for index, header in enumerate(first.headers):
        other = deepcopy(header)
        other.SeriesInstanceUID, other.SOPInstanceUID = derive_uid("test", "second"), derive_uid("test", "second", str(index))
        headers.append(other)
    grid = replace(first.grid, sop_instance_uids=tuple(str(header.SOPInstanceUID) for header in headers))
    second = Volume(array=first.array, grid=grid, headers=tuple(headers), series_instance_uid=derive_uid("test", "second"))
    job = replace(case.job, series_instance_uids=(*case.job.series_instance_uids, second.series_instance_uid))
    return replace(case, inference=replace(case.inference, others=(second,)), job=job)


def make_radiograph() -> Case:
    """Make one projection image, which has no place in the patient, and the scores of ``FINDINGS`` on it."""
    header = Dataset()
    header.SOPClassUID, header.Modality = DigitalXRayImageStorageForPresentation, "DX"
    case = make_case(
        shape=(1, 44, 37), header=header, drop=("FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", *NO_PLANE)
    )
    grid = replace(case.inference.volume.grid, frame_of_reference_uid="")
    volume = replace(case.inference.volume, grid=grid)
    case = replace(case, inference=replace(case.inference, volume=volume))
    return with_output(case, FINDINGS, make_scores(case))


def make_scores(case: Case) -> Scores:
    """Make the scores of ``FINDINGS``."""
    return Scores(values={0: 0.875, 1: 0.125}, grid=case.inference.volume.grid)


def make_tumours(case: Case) -> Channels:
    """Make the channels of ``TUMOURS``: both lungs together, and within them the upper half of the right one."""
    labels = case.inference.masks.mask(1) | case.inference.masks.mask(2)
    core = case.inference.masks.mask(1)
    core[: len(core) // 2] = False
    return Channels(array=np.stack([labels, core]), labels=(0, 1), grid=case.inference.volume.grid)


def make_boxes(case: Case) -> Boxes:
    """Make three boxes of ``NODULES``: one in the middle, one over the border of the images, and one that scores too little."""
    grid = case.inference.volume.grid
    first, second, third = (
        Box(label=0, score=score, center_mm=to_patient(grid, index), size_mm=size_mm)
        for score, index, size_mm in (
            (0.9, (4.3, 20.2, 11.7), (6.0, 7.5, 4.25)),
            (0.31, (9.1, 1.5, 30.0), (9.0, 8.0, 7.0)),
            (0.19, (4.0, 20.0, 11.0), (6.0, 7.5, 4.0)),
        )
    )
    return Boxes(boxes=(first, second, third), grid=grid)


def to_patient(grid: Grid, index: tuple[float, float, float]) -> tuple[float, float, float]:
    """Turn (slice, row, column) into patient coordinates."""
    x, y, z = (grid.affine @ [*index, 1.0])[:3].tolist()
    return x, y, z


def make_job() -> Job:
    """Make the job that asked for it."""
    return Job(
        node_ae="RADNODE",
        study_instance_uid=derive_uid("test", "study"),
        revision=1,
        series_instance_uids=(derive_uid("test", "series"),),
        pipeline="ct_lungs",
        model_digest=MODEL.digest,
        input_sha256="cd" * 32,
        queued_at=datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC),
    )


def make_lungs(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Make two ellipsoids of different size and height, label 1 at the low columns, each with a vessel through it.

    Nothing in it is symmetric, so that no flip along any axis goes unnoticed; the first and the last slice are empty.
    """
    slices, rows, columns = shape
    z, y, x = np.mgrid[0 : 1 : slices * 1j, 0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    labels = np.zeros(shape, dtype=np.uint8)
    labels[((z - 0.45) / 0.4) ** 2 + ((y - 0.45) / 0.3) ** 2 + ((x - 0.25) / 0.16) ** 2 < 1] = 1
    labels[((z - 0.55) / 0.35) ** 2 + ((y - 0.55) / 0.25) ** 2 + ((x - 0.75) / 0.14) ** 2 < 1] = 2
    labels[((y - 0.5) / 0.04) ** 2 + ((x - 0.3) / 0.04) ** 2 < 1] = 0
    return labels


def _make_grid(orientation: str, shape: tuple[int, int, int]) -> Grid:
    cosines = np.asarray(ORIENTATIONS[orientation])
    along_row, along_column = cosines[:3], cosines[3:]
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_row, along_column) * 2.5
    affine[:3, 1] = along_column * 0.9
    affine[:3, 2] = along_row * 0.8
    affine[:3, 3] = (-150.25, -120.5, -300.125)
    uids = tuple(derive_uid("test", "instance", str(index)) for index in range(shape[0]))
    return Grid(shape=shape, affine=affine, frame_of_reference_uid=derive_uid("test", "frame"), sop_instance_uids=uids)


def _make_header(grid: Grid, index: int, more: Dataset, drop: tuple[str, ...]) -> Dataset:
    """Write one instance and read it back, so that its text is encoded as a scanner's would be."""
    header = _describe_instance(grid, index)
    header.update(more)
    for keyword in drop:
        if keyword in header:
            delattr(header, keyword)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer, stop_before_pixels=True)


def _describe_instance(grid: Grid, index: int) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = grid.sop_instance_uids[index]
    header.StudyDate, header.StudyTime = "20260301", "101112"
    header.SeriesDate, header.SeriesTime = "20260301", "101213"
    header.ContentDate, header.ContentTime = "20260301", "101314"
    header.AccessionNumber = "ACC-17"
    header.Modality = "CT"
    header.Manufacturer, header.ManufacturerModelName = "Scanner works", "Tube 3000"
    header.InstitutionName = "Hôpital"
    header.ReferringPhysicianName = "Réferent^Médecin"
    header.OperatorsName = "Operator^Some"
    header.StudyDescription = "CT chest"
    header.PatientName = "Müller^Jürgen"
    header.PatientID = "P-0042"
    header.IssuerOfPatientID = "Somewhere"
    header.PatientBirthDate, header.PatientSex, header.PatientAge = "19500102", "M", "076Y"
    header.BodyPartExamined = "CHEST"
    header.SliceThickness = "2.5"
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = derive_uid("test", "study")
    header.SeriesInstanceUID = derive_uid("test", "series")
    header.StudyID, header.SeriesNumber, header.InstanceNumber = "S1", "3", str(index + 1)
    cosines = [*(grid.affine[:3, 2] / 0.8), *(grid.affine[:3, 1] / 0.9)]
    header.ImagePositionPatient = [f"{value:.6g}" for value in grid.affine @ [index, 0, 0, 1]][:3]
    header.ImageOrientationPatient = [f"{value:.6g}" for value in cosines]
    header.FrameOfReferenceUID = grid.frame_of_reference_uid
    header.PositionReferenceIndicator = ""
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = grid.shape[1:]
    header.PixelSpacing = ["0.9", "0.8"]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = "0", "1", "HU"
    header.KVP, header.AcquisitionNumber = "120", "1"
    return header


def _measure(label: int, name: str, side: Code, labels: NDArray[np.uint8], grid: Grid) -> Finding:
    volume = float((labels == label).sum()) * grid.voxel_ml
    return Finding(
        label=label,
        name=name,
        category=ANATOMICAL,
        type=LUNG,
        laterality=side,
        rgb=(224, 170, 120) if label == 1 else (120, 190, 224),
        measurements=(
            Measurement(name=VOLUME, value=volume, unit=MILLILITRE),
            Measurement(name=ATTENUATION, value=-850.0, unit=HOUNSFIELD, derivation=MEAN),
            Measurement(name=BELOW, value=12.3456789, unit=PERCENT),
        ),
    )
