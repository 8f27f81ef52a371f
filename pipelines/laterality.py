"""Is left left? The real pipeline on a known case, whose structures lie on known sides.

Conformance shows that a mask comes back to where the network saw the object. Whether the network was trained on images that were mirrored
or turned only a case can show whose answer is known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipelines.catalog import Entry
from pipelines.checks import Check, Report, dice_of
from pipelines.ellipsoids import oblique_orientation
from pipelines.errors import BundleContract, CodedError
from pipelines.phantom import AXIAL, make_chest_ct, write_datasets
from pipelines.result import Boxes, Inference, Scores, SeriesFiles, Volume
from pipelines.runner import Runner
from pipelines.series import read_headers
from pipelines.spec import Declaration

KNOWN_CASE = "known_case.toml"
Side = Literal["left", "right"]
#: SNOMED CT, as in CID 244 of PS3.16.
SIDES: dict[str, Side] = {"7771000": "left", "24028007": "right"}
#: A structure whose middle is closer to that of the body lies on neither side.
LEAST_MM = 5.0
#: What is no air, on a CT; elsewhere what is brighter than the mean.
BODY_HU = -300.0
LEAST_DICE = 0.9
OBLIQUE_DEGREES = 12.0


class KnownCase(Declaration):
    """One known_case.toml, beside pipeline.toml.

    Attributes
    ----------
    phantom : str
        ``chest``: the chest phantom that RadNode makes itself, axial and oblique.
    folders : tuple of str
        One folder of DICOM files for each input, in order; relative to the file, or absolute.
    sides : dict of int to str
        Label to the side on which it lies in the patient, for what has no laterality of its own: the spleen is left.
    truth : bool
        The phantom's own labels are those of the pipeline: the result is held against them, too.
    scene : str
        What the conformance test puts its objects in; see `pipelines.ellipsoids.make_known`. A file may say this only.
    """

    phantom: Literal["", "chest"] = ""
    folders: tuple[str, ...] = ()
    sides: dict[int, Side] = Field(default_factory=dict)
    truth: bool = False
    scene: Literal["body", "chest"] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> KnownCase:
        if (self.phantom and self.folders) or not (self.phantom or self.folders or self.scene):
            raise ValueError("give either phantom or folders, or scene alone")
        return self


def read_known_case(path: Path) -> KnownCase | None:
    """Read one known_case.toml, if there is one.

    Raises
    ------
    BundleContract
        reason ``known_case``.
    """
    try:
        return KnownCase.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise BundleContract(f"{path} has faults: {error}.", reason="known_case") from error


def check_sides(entry: Entry, path: Path, device: str = "cpu") -> Report | None:
    """Run a pipeline on its known case, and compare the sides.

    Parameters
    ----------
    entry : Entry
        Of the catalogue.
    path : Path
        Of its known_case.toml.
    device : str
        ``auto``, ``cpu`` or ``cuda:N``.

    Returns
    -------
    Report or None
        None without a known case. What the pipeline refuses is a check that did not pass.

    Raises
    ------
    BundleContract
        reason ``known_case``: the file has faults.
    """
    case = read_known_case(path)
    if case is None or not (case.phantom or case.folders):
        return None
    runner = Runner(entry, device)
    checks = _on_phantom(runner, case) if case.phantom else _on_folders(runner, case, path.parent)
    return Report(pipeline=entry.pipeline.name, checks=tuple(checks))


def _on_folders(runner: Runner, case: KnownCase, beside: Path) -> Iterator[Check]:
    try:
        inference = runner.run(*(_series_in(beside / folder) for folder in case.folders))
    except CodedError as error:
        yield Check(name="known case", passed=False, number=None, sentence=str(error))
        return
    yield from _judge(runner.entry, case, inference, "known case")


def _on_phantom(runner: Runner, case: KnownCase) -> Iterator[Check]:
    for name, orientation in (("axial phantom", AXIAL), ("oblique phantom", oblique_orientation(OBLIQUE_DEGREES))):
        phantom = make_chest_ct(orientation=orientation)
        with TemporaryDirectory(prefix="radnode-") as folder:
            files = SeriesFiles(
                series_instance_uid=phantom.series_instance_uid, paths=tuple(write_datasets(phantom.datasets, Path(folder)))
            )
            try:
                inference = runner.run(files)
            except CodedError as error:
                yield Check(name=name, passed=False, number=None, sentence=str(error))
                continue
        yield from _judge(runner.entry, case, inference, name)
        for label in runner.entry.pipeline.labels if case.truth else ():
            dice = dice_of(inference.masks.mask(label.value), phantom.labels == label.value)
            sentence = f"{label.name} is found with a Dice coefficient of {dice:.3f}."
            yield Check(name=f"{name}: {label.name}", passed=dice >= LEAST_DICE, number=dice, sentence=sentence)


def _judge(entry: Entry, case: KnownCase, inference: Inference, name: str) -> Iterator[Check]:
    expected = {label.value: SIDES[label.laterality.value] for label in entry.pipeline.labels if label.laterality} | case.sides
    names = {label.value: label.name for label in entry.pipeline.labels}
    if not expected:
        yield Check(name=name, passed=False, number=None, sentence="No label has a side; say in [sides] where one lies.")
    middle = _middle_of(inference.volume, entry)
    for label, side in expected.items():
        place = _place_of(inference, label)
        if place is None:
            sentence = f"{names.get(label, label)} was not found, so nothing shows on which side it would be."
            yield Check(name=f"{name}: {names.get(label, label)} {side}", passed=False, number=None, sentence=sentence)
            continue
        off = place - middle  # LPS: +x is left
        found = "left" if off > LEAST_MM else "right" if off < -LEAST_MM else "in the middle"
        sentence = f"{names[label]} is found {abs(off):.0f} mm to the {'left' if off > 0 else 'right'}; it lies {side}."
        yield Check(name=f"{name}: {names[label]} {side}", passed=found == side, number=off, sentence=sentence)


def _place_of(inference: Inference, label: int) -> float | None:
    """Where the middle of a label is along the patient's left-right axis, in millimetres."""
    output = inference.output
    if isinstance(output, Scores):
        return None
    if isinstance(output, Boxes):
        return next((box.center_mm[0] for box in output.boxes if box.label == label), None)
    mask = output.mask(label)
    return _mean_x(np.argwhere(mask).astype(np.float64), inference.volume) if mask.any() else None


def _middle_of(volume: Volume, entry: Entry) -> float:
    """Where the middle of the body is along the same axis."""
    is_ct = entry.pipeline.inputs[0].modality == ("CT",)
    body = volume.array > (BODY_HU if is_ct else float(volume.array.mean()))
    return _mean_x(np.argwhere(body).astype(np.float64), volume)


def _mean_x(indices: np.ndarray[tuple[int, ...], np.dtype[np.float64]], volume: Volume) -> float:
    return float(volume.grid.affine[0, :3] @ indices.mean(axis=0) + volume.grid.affine[0, 3])


def _series_in(folder: Path) -> SeriesFiles:
    """Take a folder of DICOM files as one series.

    Raises
    ------
    BundleContract
        reason ``known_case``: it is empty.
    """
    paths = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    if not paths:
        raise BundleContract(f"There is nothing in {folder}, where the known case should be.", reason="known_case")
    return SeriesFiles(series_instance_uid=str(read_headers(paths[:1])[0].SeriesInstanceUID), paths=paths)
