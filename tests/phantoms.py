"""Synthetic series for tests: the product's own chest phantom, and every way in which a real series goes wrong."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from pipelines.phantom import make_chest_ct, write_datasets
from pipelines.result import SeriesFiles

#: Enough slices to judge, too few pixels to cost anything.
TINY = (6, 16, 20)

PRONE = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
#: Columns run towards the patient's right and rows towards the back: the slice normal points to the feet.
SEEN_FROM_ABOVE = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def oblique(degrees: float = 12.0) -> tuple[float, ...]:
    """Axial slices turned about the left-right axis, as along the lung's long axis; the stack stays perpendicular to them."""
    angle = np.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))


def turned(degrees: float = 20.0) -> tuple[float, ...]:
    """Axial slices turned within their plane, as when the patient lies askew."""
    angle = np.radians(degrees)
    return (float(np.cos(angle)), float(np.sin(angle)), 0.0, -float(np.sin(angle)), float(np.cos(angle)), 0.0)


def tiny_ct(**options: Any) -> list[Dataset]:
    """Six small slices of a chest."""
    return make_chest_ct(**{"shape": TINY, **options}).datasets


def write_ct_chest(folder: Path, **options: Any) -> list[Path]:
    """Write one chest CT series; the options are those of `make_chest_ct`."""
    return write_datasets(make_chest_ct(**options).datasets, folder)


def write_series(datasets: Sequence[Dataset], folder: Path) -> SeriesFiles:
    """Write any datasets and name them as one series, in an order that is not that of the slices."""
    order = np.random.default_rng(7).permutation(len(datasets))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in order:
        path = folder / f"{number:04d}.dcm"
        datasets[number].save_as(path, enforce_file_format=True)
        paths.append(path)
    return SeriesFiles(series_instance_uid=str(datasets[0].get("SeriesInstanceUID", "")), paths=tuple(paths))


def with_duplicate(datasets: Sequence[Dataset], index: int = 2) -> list[Dataset]:
    """One slice twice, under another SOP Instance UID."""
    twin = deepcopy(datasets[index])
    twin.SOPInstanceUID = f"{datasets[index].SOPInstanceUID}.1"
    return [*datasets, twin]


def without_slice(datasets: Sequence[Dataset], index: int = 2) -> list[Dataset]:
    """One slice lost."""
    return [dataset for number, dataset in enumerate(datasets) if number != index]


def tilted(datasets: Sequence[Dataset], degrees: float = 10.0) -> list[Dataset]:
    """The stack of a tilted gantry: each slice is shifted towards the patient's back against the one before."""
    first = float(datasets[0].ImagePositionPatient[2])
    slope = float(np.tan(np.radians(degrees)))
    for dataset in datasets:
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + (z - first) * slope, z]
    return list(datasets)


def uneven(datasets: Sequence[Dataset], index: int = 3, shift_mm: float = 1.0) -> list[Dataset]:
    """One slice out of step."""
    x, y, z = (float(value) for value in datasets[index].ImagePositionPatient)
    datasets[index].ImagePositionPatient = [x, y, z + shift_mm]
    return list(datasets)


def multiframe(
    datasets: Sequence[Dataset], order: Sequence[int] | None = None, *, shared: Sequence[str] = ("orientation", "measures")
) -> Dataset:
    """The same slices as one Enhanced CT instance; ``order`` says which slice each frame is, ``shared`` what is said once for all."""
    order = range(len(datasets)) if order is None else order
    first = datasets[0]
    image = deepcopy(first)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        del image[keyword]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{first.SeriesInstanceUID}.1"
    image.NumberOfFrames = len(order)
    groups = [_groups(datasets[index]) for index in order]
    common = Dataset()
    for name in shared:
        common[_MACROS[name]] = groups[0][_MACROS[name]]
        for one in groups:
            del one[_MACROS[name]]
    image.SharedFunctionalGroupsSequence = [common]
    image.PerFrameFunctionalGroupsSequence = groups
    image.PixelData = b"".join(datasets[index].PixelData for index in order)
    return image


_MACROS = {"orientation": "PlaneOrientationSequence", "measures": "PixelMeasuresSequence", "values": "PixelValueTransformationSequence"}
_GROUPED = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}


def _groups(dataset: Dataset) -> Dataset:
    """The functional groups of one frame (PS3.3 C.7.6.16.2)."""
    groups = Dataset()
    for macro, keywords in _GROUPED.items():
        item = Dataset()
        for keyword in keywords:
            item[keyword] = deepcopy(dataset[keyword])
        setattr(groups, macro, [item])
    frame_type = Dataset()
    frame_type.FrameType = list(dataset.ImageType)
    groups.CTImageFrameTypeSequence = [frame_type]
    return groups
