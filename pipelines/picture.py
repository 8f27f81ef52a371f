"""One projection image -> one plane as it is to be seen: bone bright, on a grid of its own.

A radiograph (CR, DX, MG) lies in no Frame of Reference and has no position in the patient. What it has is the chain of PS3.3 C.11 and
PS3.4 N.2 that turns its stored values into what is shown: Modality LUT, VOI LUT, and the polarity of its photometric interpretation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from pipelines.clock import Clock
from pipelines.damage import damage_refused
from pipelines.errors import GeometryError, UnsupportedPixelData
from pipelines.frames import slices_of
from pipelines.geometry import Grid
from pipelines.pixels import DECODER_ERRORS, check_module
from pipelines.result import SeriesFiles, Volume
from pipelines.series import check_identity, read_headers
from pipelines.stacking import numbers

#: Spacing at the object, or else at the detector, which is what a radiograph has (PS3.3 10.7.1.3).
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")


@damage_refused()
def read_picture(files: SeriesFiles, accept: Callable[[Grid], None] = lambda _: None, clock: Clock | None = None) -> Volume:
    """Read a series of one projection image as a volume of one slice.

    Parameters
    ----------
    accept : callable
        Given the grid before the image is decoded; raises what it does not accept.
    clock : Clock, optional
        Notes the time of ``decode``.

    Returns
    -------
    Volume
        Array (1, row, column), float32: values after the Modality and the first VOI LUT or window, in the units that these give, so
        turned that more is brighter when shown. The grid has the axes of the image itself, x along its rows, y down its columns; it has
        no Frame of Reference, and no place in the patient.

    Raises
    ------
    IdentityConflict
        See `pipelines.series.check_identity`.
    GeometryError
        reason ``several_images`` or ``missing_geometry`` (no spacing: lengths would be a guess).
    UnsupportedPixelData
        See `pipelines.pixels.read_slice`, and reason ``presentation``: photometric interpretation and Presentation LUT Shape disagree.
    """
    headers = read_headers(files.paths)
    if len(slices_of(headers)) != 1 or int(headers[0].get("NumberOfFrames") or 1) != 1:
        raise GeometryError(f"The series has {len(headers)} images, or one of several frames; one is needed.", reason="several_images")
    check_identity(headers, files.series_instance_uid)
    header = headers[0]
    spacing = next((found for keyword in SPACINGS if (found := numbers(header, keyword, 2)) is not None), None)
    if spacing is None or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError("The image does not say how large its pixels are.", reason="missing_geometry")
    grid = Grid(
        shape=(1, int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        affine=np.array([[0.0, 0.0, spacing[1], 0.0], [0.0, spacing[0], 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
        frame_of_reference_uid="",
        sop_instance_uids=(str(header.SOPInstanceUID),),
    )
    accept(grid)
    with (clock or Clock()).timing("decode"):
        plane = _as_shown(dcmread(files.paths[0]), grid.shape[1:])
    return Volume(array=plane[None], grid=grid, headers=(header,), series_instance_uid=files.series_instance_uid)


def _as_shown(dataset: Dataset, matrix: tuple[int, ...]) -> NDArray[np.float32]:
    """The values that a display would be given, more for brighter; shape (row, column)."""
    if "PixelData" not in dataset:
        raise UnsupportedPixelData("An instance has no Pixel Data.", reason="no_pixels")
    check_module(dataset, matrix)
    is_inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    shape = dataset.get("PresentationLUTShape")
    if shape not in (None, "", "INVERSE" if is_inverse else "IDENTITY"):
        # PS3.3 C.8.11.3.1.2: they must agree, and which of them is right would be a guess.
        raise UnsupportedPixelData(
            f"{dataset.PhotometricInterpretation} with Presentation LUT Shape {shape} says both bright and dark.", reason="presentation"
        )
    try:
        shown = np.asarray(apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset, index=0), dtype=np.float32)
    except (*DECODER_ERRORS, NotImplementedError) as error:
        why = f"The image cannot be decoded, or its LUTs not be applied ({type(error).__name__})."
        raise UnsupportedPixelData(why, reason="undecodable") from error
    # The largest possible value is not known after every LUT; only differences are meant.
    return np.asarray(shown.max() + shown.min() - shown if is_inverse else shown, dtype=np.float32)
