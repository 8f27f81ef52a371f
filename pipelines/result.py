"""What flows out of a pipeline: a label map on the source's grid, and the findings measured on it.

The types are frozen and free of torch, MONAI and highdicom, so that the node may encode them without loading any model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.geometry import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 section 8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """One series as an array in modality units, with its place in the patient.

    Attributes
    ----------
    array : ndarray, shape (slice, row, column), float32
        Modality units: Hounsfield units for CT (PS3.3 C.11.1, Modality LUT applied).
    grid : Grid
        Index to patient coordinates.
    headers : tuple of Dataset
        The data set of each slice without its pixels, in slice order: what an encoder copies identity from.
    series_instance_uid : str
        The series that was read.
    stack : str
        The stack of it that was read; empty when it is a single one.
    """

    array: NDArray[np.float32]
    grid: Grid
    headers: tuple[Dataset, ...]
    series_instance_uid: str
    stack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMap:
    """One integer label per voxel, on the grid of the source series.

    Attributes
    ----------
    array : ndarray, shape (slice, row, column), uint8
        0 is background; every other value is a label that the pipeline declares.
    grid : Grid
        The source volume's own grid, the same object.
    """

    array: NDArray[np.uint8]
    grid: Grid

    def mask(self, label: int) -> NDArray[np.bool_]:
        """Tell which voxels have a label; shape (slice, row, column)."""
        return np.asarray(self.array == label)

    def plane(self, label: int, index: int) -> NDArray[np.bool_]:
        """Tell which voxels of one slice have a label; shape (row, column)."""
        return np.asarray(self.array[index] == label)

    def present(self) -> frozenset[int]:
        """List the labels that have a voxel, background aside."""
        found = {0}
        for plane in self.array:
            # what is left when the labels that are known are taken away: four times as fast as counting all of them
            rest = plane.tobytes().translate(None, bytes(found))
            while rest:
                found.add(rest[0])
                rest = rest.translate(None, rest[:1])
        return frozenset(found) - {0}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """One mask per label, which may overlap, on the grid of the source series.

    Attributes
    ----------
    array : ndarray, shape (channel, slice, row, column), bool
    labels : tuple of int
        The label of each channel.
    grid : Grid
        The source volume's own grid, the same object.
    """

    array: NDArray[np.bool_]
    labels: tuple[int, ...]
    grid: Grid

    def mask(self, label: int) -> NDArray[np.bool_]:
        """Tell which voxels have a label; shape (slice, row, column)."""
        return np.asarray(self.array[self.labels.index(label)])

    def plane(self, label: int, index: int) -> NDArray[np.bool_]:
        """Tell which voxels of one slice have a label; shape (row, column)."""
        return np.asarray(self.array[self.labels.index(label), index])

    def present(self) -> frozenset[int]:
        """List the labels that have a voxel."""
        return frozenset(label for label, mask in zip(self.labels, self.array, strict=True) if mask.any())


Masks = LabelMap | Channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One thing that a detector found, as a box along the axes of the patient.

    Attributes
    ----------
    label : int
        Its class.
    score : float
        0 to 1, as the model gave it; not a probability unless the model card says so.
    center_mm, size_mm : tuple of float
        DICOM patient coordinates (LPS), x, y, z.
    """

    label: int
    score: float
    center_mm: tuple[float, float, float]
    size_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boxes:
    """What a detector found, highest score first; none is a result too."""

    boxes: tuple[Box, ...]
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What a classifier or a regression gave: label to number."""

    values: dict[int, float]
    grid: Grid


Output = Masks | Boxes | Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number with its coded name and UCUM unit (TID 300 "Measurement", PS3.16)."""

    name: Code
    value: float
    unit: Code
    derivation: Code | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One measurement group: what a label stands for, and what was measured on it (TID 1411, PS3.16).

    Attributes
    ----------
    label : int
        The label's integer in the LabelMap.
    name : str
        For people: "Left lung".
    category, type : Code
        Segmented property category and type (CID 7150, CID 7151 and their children).
    laterality : Code or None
        Segmented property type modifier, (7771000, SCT, "Left") for example.
    rgb : tuple of int
        Recommended display colour, 0 to 255 each.
    measurements : tuple of Measurement
        In the order of the pipeline's declaration.
    number : int
        From 1; tells findings of one label apart, of which a detector may have several.
    box : Box or None
        Where it is, when it is not a segment.
    """

    label: int
    name: str
    category: Code
    type: Code
    laterality: Code | None
    rgb: tuple[int, int, int]
    measurements: tuple[Measurement, ...]
    number: int = 1
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The identity of a model, as every object that it produced must state it.

    Attributes
    ----------
    name, version, manufacturer : str
        As in the bundle's metadata.json and pipeline.toml.
    digest : str
        sha256 (hexadecimal) over the bundle's files and the overrides in pipeline.toml: change anything, and it is another model.
    """

    name: str
    version: str
    manufacturer: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inference:
    """Everything that one run of a pipeline produced.

    Attributes
    ----------
    volume : Volume
        The first input, on whose grid the output lies.
    output : LabelMap, Channels, Boxes or Scores
        As `pipelines.spec.Outputs.kind` says.
    others : tuple of Volume
        The further inputs, in the pipeline's order.
    registration : tuple of str
        What was done to each input to lay it upon the first; see `pipelines.alignment`.
    device : str
        Where the model ran: ``cpu`` or ``cuda:0 (NVIDIA ...)``.
    seconds : dict of str to float
        Wall time of each stage; see `pipelines.runner.Runner.run`.
    rung : str
        By which step of the ladder memory sufficed; see `pipelines.ladder`.
    network_by : str
        By what the network was computed, and how well that agrees with torch; see `pipelines.backend`.
    """

    pipeline: str
    model: Model
    volume: Volume
    output: Output
    findings: tuple[Finding, ...]
    device: str
    seconds: dict[str, float]
    rung: str = "as configured"
    network_by: str = "torch"
    others: tuple[Volume, ...] = ()
    registration: tuple[str, ...] = ()

    @property
    def masks(self) -> Masks:
        """The output of a pipeline that segments.

        Raises
        ------
        TypeError
            It does not.
        """
        if isinstance(self.output, LabelMap | Channels):
            return self.output
        raise TypeError(f"{self.pipeline} gives no masks")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFiles:
    """The files of one series, as the runner is given them.

    Attributes
    ----------
    paths : tuple of Path
        Of all its instances, in any order.
    stack : str
        Which stack of it is meant; empty when it is a single one. See `pipelines.stacks`.
    """

    series_instance_uid: str
    paths: tuple[Path, ...]
    stack: str = ""
