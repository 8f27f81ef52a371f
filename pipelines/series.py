"""DICOM files of one series -> one Volume in patient coordinates, or a refusal with its reason."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.clock import Clock
from pipelines.damage import damage_refused
from pipelines.errors import GeometryError, IdentityConflict
from pipelines.frames import Slice, slices_of
from pipelines.geometry import Grid
from pipelines.header import read_header
from pipelines.pixels import is_compressed, read_planes, rescale_of
from pipelines.result import SeriesFiles, Volume
from pipelines.stacking import stack
from pipelines.stacks import take

#: What every instance of one series must have, and have alike.
IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
#: Threads that decode; more of them would wait for the interpreter, which parses the files.
MOST_THREADS = 8


def read_headers(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    """Read the data set of each file, up to its pixels.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``: a file is damaged or no DICOM, or it holds more than `pipelines.header` allows.
    """
    with damage_refused():
        return tuple(read_header(path) for path in paths)


@damage_refused()
def read_volume(files: SeriesFiles, accept: Callable[[Grid], None] = lambda _: None, clock: Clock | None = None) -> Volume:
    """Read one series, or one stack of it, into one array.

    Headers are judged before any pixel is decoded, so that a refusal costs little.

    Parameters
    ----------
    files : SeriesFiles
        Files in any order; every one must belong to the series.
    accept : callable
        Given the grid before any memory is taken or pixel decoded; raises what it does not accept.
    clock : Clock, optional
        Notes the time of ``volume`` and, within it, of ``decode``.

    Returns
    -------
    Volume
        Array (slice, row, column), float32, modality units; slices ordered along the normal of Image Orientation (Patient).

    Raises
    ------
    IdentityConflict
        reason ``missing`` or ``mixed``.
    GeometryError
        See `pipelines.stacks.take` and `pipelines.stacking.stack`.
    UnsupportedPixelData
        See `pipelines.frames.slices_of`, `pipelines.pixels.read_slice` and `read_frames`.
    """
    clock = clock or Clock()
    with clock.timing("volume"):
        instances = read_headers(files.paths)
        if not instances:
            raise GeometryError("The series has no instances.", reason="too_few")
        check_identity(instances, files.series_instance_uid)
        found = take(slices_of(instances), files.stack)
        order, grid = stack([each.header for each in found], [each.frame for each in found])
        accept(grid)
        slices = [found[index] for index in order]
        for each in slices:
            rescale_of(each.header)
        array = np.empty(grid.shape, dtype=np.float32)
        with clock.timing("decode"):
            _decode(files.paths, slices, array)
        return Volume(
            array=array,
            grid=grid,
            headers=tuple(each.header for each in slices),
            series_instance_uid=files.series_instance_uid,
            stack=files.stack,
        )


def _decode(paths: Sequence[Path], slices: Sequence[Slice], array: NDArray[np.float32]) -> None:
    """Read the pixels of every slice into its place; each file is opened once."""
    planes: dict[int, list[tuple[Slice, NDArray[np.float32]]]] = defaultdict(list)
    for place, each in enumerate(slices):
        planes[each.instance].append((each, array[place]))
    work = [(paths[instance], wanted) for instance, wanted in planes.items()]
    # JPEG 2000 takes 30 ms a slice and lets other threads run meanwhile; uncompressed pixels would only wait for each other.
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS, len(work)) if is_compressed(slices[0]) else 1
    if threads == 1:
        for one in work:
            read_planes(*one)
        return
    with ThreadPoolExecutor(threads) as pool:
        # The first refusal in the order of the slices is the one that counts, however the threads ran.
        for _ in pool.map(read_planes, *zip(*work, strict=True)):
            pass


def check_identity(headers: Sequence[Dataset], series_instance_uid: str) -> None:
    """Require one patient, one study and one series: identity is compared, never edited.

    Patient ID may be empty in DICOM (Type 2, PS3.3 C.7.1.1), but a result without it could not be filed to a patient.

    Raises
    ------
    IdentityConflict
        reason ``missing`` or ``mixed``; the sentence names the attribute, never its value.
    """
    for keyword in (*IDENTITY, "SOPInstanceUID"):
        if not all(str(header.get(keyword) or "").strip() for header in headers):
            raise IdentityConflict(f"{keyword} is missing or empty in the series; a result could not be filed.", reason="missing")
    for keyword in IDENTITY:
        if len({str(header[keyword].value) for header in headers}) > 1:
            raise IdentityConflict(f"{keyword} differs between instances of one series.", reason="mixed")
    if str(headers[0].SeriesInstanceUID) != series_instance_uid:
        raise IdentityConflict("SeriesInstanceUID is not that of the series that was asked for.", reason="mixed")
