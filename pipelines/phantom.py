"""A synthetic chest CT, made by code: what every demonstration and end-to-end test sends.

Anatomy is drawn in DICOM patient coordinates (LPS millimetres: +x left, +y posterior, +z superior) and then sampled on whatever
grid is asked for, so that an oblique or prone acquisition shows the same patient. It is a test object and no model of disease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

RIGHT_LUNG, LEFT_LUNG = 1, 2
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
#: Where the middle of the chest lies in patient coordinates: not at the origin, which would hide sign errors.
CENTRE_MM = (4.0, -11.0, -140.0)
#: Stored value = HU - INTERCEPT, unsigned, 12 bits.
INTERCEPT = -1024

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChestPhantom:
    """A phantom and its truth.

    Attributes
    ----------
    datasets : list of Dataset
        One CT image per slice, complete and ready to write or send, in slice order (along the normal).
    labels : ndarray, shape (slice, row, column), uint8
        0 elsewhere, 1 right lung, 2 left lung, vessels included and airways not.
    hounsfield : ndarray, shape (slice, row, column), int16
        What the datasets hold, after the rescale.
    """

    datasets: list[Dataset]
    labels: NDArray[np.uint8]
    hounsfield: NDArray[np.int16]

    @property
    def study_instance_uid(self) -> str:
        """The study that all datasets belong to."""
        return str(self.datasets[0].StudyInstanceUID)

    @property
    def series_instance_uid(self) -> str:
        """The series that all datasets belong to."""
        return str(self.datasets[0].SeriesInstanceUID)


def make_chest_ct(
    *,
    seed: int = 0,
    study_name: str = "chest",
    patient_id: str = "PHANTOM-1",
    shape: tuple[int, int, int] = (60, 128, 160),
    spacing_mm: tuple[float, float, float] = (5.0, 1.5, 1.5),
    orientation: Sequence[float] = AXIAL,
) -> ChestPhantom:
    """Make one chest CT series.

    Parameters
    ----------
    seed : int
        Of noise, lung density and the bronchi's bend; the same arguments give the same bytes.
    study_name : str
        Every UID is derived from it: one name is one study, one (name, seed) is one series of it.
    patient_id : str
        Patient ID (0010,0020); the name is always Phantom^Chest.
    shape : tuple of int
        (slices, rows, columns).
    spacing_mm : tuple of float
        Between (slices, rows, columns). Slice Thickness is the first.
    orientation : sequence of float, length 6
        Image Orientation (Patient), two perpendicular unit vectors: PS3.3 C.7.6.2.1.1.

    Returns
    -------
    ChestPhantom
    """
    rng = np.random.default_rng(seed)
    affine = _affine(shape, spacing_mm, orientation)
    x, y, z = _patient_coordinates(shape, affine)
    hounsfield, labels = _draw(x, y, z, rng)
    # In-plane blur stands for the reconstruction kernel; noise is added after it, as quantum noise is.
    hounsfield = ndimage.gaussian_filter(hounsfield, (0.3, 0.6, 0.6)) + rng.normal(0.0, 14.0, shape)
    stored = np.clip(np.rint(hounsfield) - INTERCEPT, 0, 4095).astype(np.uint16)
    # Each instance gets data elements of its own: a test that changes one must not change all.
    datasets = [_instance(_series(study_name, patient_id, seed), stored[index], affine, index, len(stored)) for index in range(len(stored))]
    return ChestPhantom(datasets=datasets, labels=labels, hounsfield=(stored.astype(np.int32) + INTERCEPT).astype(np.int16))


def write_datasets(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write each dataset as a DICOM file (PS3.10) named by its SOP Instance UID, whose order is not that of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def uid_from(*parts: object) -> str:
    """A UID derived from a name: UUIDv5 under 2.25 (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join(('radnode-phantom', *map(str, parts)))).int}"


def _affine(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], orientation: Sequence[float]) -> Array:
    """(slice, row, column, 1) to LPS millimetres, with the middle of the array at the middle of the chest."""
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.cross(row, column) * spacing_mm[0], column * spacing_mm[1], row * spacing_mm[2]], axis=1)
    affine[:3, 3] = np.asarray(CENTRE_MM) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _patient_coordinates(shape: tuple[int, int, int], affine: Array) -> tuple[Array, Array, Array]:
    """x, y, z of every voxel relative to the middle of the chest; arrays that broadcast, thin where the grid is axis-aligned."""
    indices = np.ogrid[: shape[0], : shape[1], : shape[2]]
    coordinates = []
    for axis in range(3):
        total = np.full((1, 1, 1), affine[axis, 3] - CENTRE_MM[axis])
        for step, index in zip(affine[axis, :3], indices, strict=True):
            if step != 0.0:
                total = total + step * index
        coordinates.append(total)
    return coordinates[0], coordinates[1], coordinates[2]


def _draw(x: Array, y: Array, z: Array, rng: np.random.Generator) -> tuple[Array, NDArray[np.uint8]]:
    """Hounsfield units and labels of the anatomy, sharp and without noise."""
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    hounsfield = np.full(shape, -1000.0)
    rim = (np.abs(x) / 108) ** 2.4 + (np.abs(y) / 76) ** 2.4
    _paint(hounsfield, rim < 1, -100.0)
    _paint(hounsfield, rim < 0.8, 45.0)
    _paint(hounsfield, _ribs(rim, y, z), 550.0)
    spine = (x / 16) ** 2 + ((y - 54) / 14) ** 2
    _paint(hounsfield, spine < 1, 230.0)
    _paint(hounsfield, (spine < 1) & ((z % 26) < 5), 70.0)
    heart = ((x - 20) / 40) ** 2 + ((y + 22) / 34) ** 2 + ((z + 38) / 46) ** 2
    _paint(hounsfield, heart < 1, 55.0)
    # A stomach bubble under the left dome: air inside the body that is no lung.
    _paint(hounsfield, ((x - 44) / 24) ** 2 + ((y + 14) / 20) ** 2 + ((z + 116) / 14) ** 2 < 1, -985.0)
    _paint(hounsfield, (np.abs(y - 86 - (x / 110) ** 2 * 6) < 2.5) & (np.abs(x) < 115) & (rim > 1), -150.0)

    labels = np.zeros(shape, dtype=np.uint8)
    right = _lung(x + 50, y, z, (37, 52, 116), -74, 30) & (spine > 2)
    left = _lung(x - 52, y, z, (34, 50, 110), -84, 22) & (spine > 2) & (heart > 1.15)
    labels[right], labels[left] = RIGHT_LUNG, LEFT_LUNG
    density = rng.uniform(-870, -845) + 30 * y / 50 + ndimage.gaussian_filter(rng.normal(0, 60, shape), 1.0)
    hounsfield = np.where(labels > 0, density, hounsfield)
    _draw_tubes(hounsfield, labels, (x, y, z), rng)
    return hounsfield, labels


def _paint(hounsfield: Array, where: Mask, value: float) -> None:
    """Set a region, whose mask may be thin along some axes."""
    np.copyto(hounsfield, value, where=where)


def _ribs(rim: Array, y: Array, z: Array) -> Mask:
    """Rings in the chest wall that descend towards the front."""
    return (rim > 0.72) & (rim < 0.86) & (((z - 0.45 * y) % 27) < 8) & (y > -58)


def _lung(x: Array, y: Array, z: Array, semi_axes: tuple[int, int, int], base: float, dome: float) -> Mask:
    """An ellipsoid with a flattened side, cut from below by a diaphragm dome."""
    a, b, c = semi_axes
    shell = (np.abs(x) / a) ** 2.3 + (np.abs(y) / b) ** 2.3 + (np.abs(z) / c) ** 2.3 < 1
    floor = base + dome * np.exp(-((x / 26) ** 2) - ((y + 4) / 34) ** 2)
    return np.asarray(shell & (z > floor), dtype=np.bool_)


def _draw_tubes(hounsfield: Array, labels: NDArray[np.uint8], place: tuple[Array, Array, Array], rng: np.random.Generator) -> None:
    """Trachea, main bronchi and a few vessels; airways and their walls are no lung, vessels inside the lung are."""
    carina = np.array([rng.uniform(-2, 2), 8.0, 38.0])
    right_hilum, left_hilum = np.array([-32.0, 10.0, 6.0]), np.array([36.0, 12.0, 2.0])
    ends = [(-60, -24, -30), (-58, 34, -34), (-56, 0, 70), (62, 26, -44), (56, -6, 66), (66, 8, 12)]
    for end in ends:
        start = right_hilum if end[0] < 0 else left_hilum
        vessel = _tube(place, start, np.array(end, float), 3.5) & (labels > 0)
        hounsfield[vessel] = 40.0
    top = carina + np.array([0.0, 4.0, 160.0])
    airways = ((carina, top, 8.0), (carina, right_hilum, 6.5), (carina, left_hilum, 5.5))
    for origin, tip, radius in airways:
        wall = _tube(place, origin, tip, radius + 2.0)
        hounsfield[wall & (hounsfield < 40)] = 40.0
        labels[wall] = 0
    for origin, tip, radius in airways:
        hounsfield[_tube(place, origin, tip, radius)] = -1000.0


def _tube(place: tuple[Array, Array, Array], start: Array, end: Array, radius: float) -> Mask:
    """Voxels within ``radius`` of the segment from start to end, in millimetres."""
    axis = end - start
    offset = [coordinate - origin for coordinate, origin in zip(place, start, strict=True)]
    along = sum((o * a for o, a in zip(offset, axis, strict=True)), np.zeros(1)) / float(axis @ axis)
    along = np.clip(along, 0.0, 1.0)
    squared = sum(((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True)), np.zeros(1))
    return np.asarray(squared < radius**2, dtype=np.bool_)


def _series(study_name: str, patient_id: str, seed: int) -> Dataset:
    """The attributes that all instances share: patient, study, series, equipment and acquisition modules of the CT IOD (PS3.3 A.3)."""
    series = Dataset()
    series.SpecificCharacterSet = "ISO_IR 192"
    series.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    series.SOPClassUID = CTImageStorage
    series.StudyDate = series.SeriesDate = series.AcquisitionDate = series.ContentDate = "20260102"
    series.StudyTime = series.SeriesTime = series.AcquisitionTime = series.ContentTime = "080910"
    series.AccessionNumber = f"A{uuid5(NAMESPACE_OID, study_name).hex[:10].upper()}"
    series.Modality = "CT"
    series.Manufacturer, series.ManufacturerModelName = "RadNode", "Chest phantom"
    series.DeviceSerialNumber, series.SoftwareVersions = "1", "1"
    series.ReferringPhysicianName = ""
    series.StudyDescription, series.SeriesDescription = "Synthetic chest CT", "Chest phantom"
    series.PatientName, series.PatientID = "Phantom^Chest", patient_id
    series.PatientBirthDate, series.PatientSex = "19700101", "O"
    series.BodyPartExamined, series.PatientPosition = "CHEST", "HFS"
    series.KVP, series.AcquisitionNumber = "120", 1
    series.StudyInstanceUID = uid_from(study_name)
    series.SeriesInstanceUID = uid_from(study_name, seed, "series")
    series.FrameOfReferenceUID = uid_from(study_name, "frame")
    series.StudyID, series.SeriesNumber = "1", seed + 1
    series.PositionReferenceIndicator = ""
    series.SamplesPerPixel, series.PhotometricInterpretation = 1, "MONOCHROME2"
    series.BitsAllocated, series.BitsStored, series.HighBit, series.PixelRepresentation = 16, 12, 11, 0
    series.RescaleIntercept, series.RescaleSlope, series.RescaleType = str(INTERCEPT), "1", "HU"
    series.WindowCenter, series.WindowWidth = "40", "400"
    return series


def _instance(dataset: Dataset, stored: NDArray[np.uint16], affine: Array, index: int, count: int) -> Dataset:
    """Give one slice its own identity, place (PS3.3 C.7.6.2) and pixels, beside the attributes that all share."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    # Numbered against the slice order, as feet-first scans are: sorting by Instance Number would be wrong.
    dataset.InstanceNumber = count - index
    dataset.SOPInstanceUID = uid_from(dataset.SeriesInstanceUID, dataset.InstanceNumber)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    slice_step, row_step, column_step = (float(np.linalg.norm(affine[:3, axis])) for axis in range(3))
    position = affine[:3, 3] + index * affine[:3, 0]
    cosines = (*(affine[:3, 2] / column_step), *(affine[:3, 1] / row_step))
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.9f}" for value in cosines]
    dataset.PixelSpacing = [f"{row_step:.6f}", f"{column_step:.6f}"]
    dataset.SliceThickness = f"{slice_step:.6f}"
    dataset.SliceLocation = f"{float(position[2]):.4f}"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelData = stored.astype("<u2").tobytes()
    return dataset
