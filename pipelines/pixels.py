"""Pixel Data of one instance -> modality units, exactly as the image pixel module describes it (PS3.3 C.7.6.3, PS3.5 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from pipelines.damage import damage_refused
from pipelines.errors import UnsupportedPixelData
from pipelines.frames import Slice

#: What pydicom and its decoders raise for pixel data that they cannot decode.
DECODER_ERRORS = (AttributeError, EOFError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def read_planes(path: Path, planes: Sequence[tuple[Slice, NDArray[np.float32]]]) -> None:
    """Decode the slices of one instance, each into an array that the caller owns.

    Raises
    ------
    UnsupportedPixelData
        See `read_slice` and `read_frames`.
    """
    if planes and not planes[0][0].frame:
        for _, out in planes:
            read_slice(path, out)
    else:
        read_frames(path, planes)


@damage_refused()
def read_slice(path: Path, out: NDArray[np.float32]) -> None:
    """Decode one single-frame instance and apply its Modality LUT (rescale), into a slice that the caller owns.

    Parameters
    ----------
    path : Path
        A DICOM file; any transfer syntax that pydicom can decode here.
    out : ndarray, shape (row, column), float32
        Receives ``stored value * RescaleSlope + RescaleIntercept`` (PS3.3 C.11.1.1.2), Hounsfield units for CT.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``, ``no_pixels``, ``colour``, ``multiframe``, ``bits``, ``matrix``, ``modality_lut``, ``rescale``,
        ``rescale_type``, ``truncated`` or ``undecodable``.
    """
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        raise UnsupportedPixelData("An instance has no Pixel Data.", reason="no_pixels")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise UnsupportedPixelData("A multi-frame instance does not say where its frames lie.", reason="multiframe")
    check_module(dataset, out.shape)
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ""))) if hasattr(dataset, "file_meta") else UID("")
    _rescale(_decode(dataset) if _is_encapsulated(syntax) else _unpack(dataset, syntax), dataset, out)


@damage_refused()
def read_frames(path: Path, frames: Sequence[tuple[Slice, NDArray[np.float32]]]) -> None:
    """Decode frames of one multi-frame instance, one after the other, each with the rescale of its own (PS3.3 C.7.6.16.2.9).

    Parameters
    ----------
    frames : sequence of (Slice, ndarray of shape (row, column), float32)
        In any order; frames that nobody asks for are not decoded.

    Raises
    ------
    UnsupportedPixelData
        As `read_slice`.
    """
    wanted = sorted(frames, key=lambda each: each[0].frame)
    for each, out in wanted:
        check_module(each.header, out.shape)
    some = len(wanted) < int(wanted[0][0].header.get("NumberOfFrames") or 0)
    syntax = UID(str(wanted[0][0].header.file_meta.get("TransferSyntaxUID", "")))
    source = dcmread(path) if syntax.is_transfer_syntax and syntax.is_deflated else path
    decoded = iter_pixels(source, indices=[each.frame - 1 for each, _ in wanted] if some else None, raw=True)
    try:
        for (each, out), stored in zip(wanted, decoded, strict=True):
            _rescale(stored, each.header, out)
    except DECODER_ERRORS as error:
        raise _undecodable(syntax, error) from error


def _rescale(stored: NDArray[np.integer], header: Dataset, out: NDArray[np.float32]) -> None:
    slope, intercept = rescale_of(header)
    np.multiply(stored, np.float32(slope), out=out, casting="unsafe")
    out += np.float32(intercept)


def rescale_of(dataset: Dataset) -> tuple[float, float]:
    """Rescale Slope and Intercept of one instance.

    They are Type 1 in the CT image module (PS3.3 C.8.2.1); other modalities without them are in modality units already.

    Raises
    ------
    UnsupportedPixelData
        reason ``modality_lut``, ``rescale`` (missing on CT, zero or not finite) or ``rescale_type`` (CT, but not Hounsfield units).
    """
    is_ct = dataset.get("Modality") == "CT"
    if "ModalityLUTSequence" in dataset:
        raise UnsupportedPixelData("A Modality LUT Sequence is not supported; only rescale slope and intercept are.", reason="modality_lut")
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None and intercept is None and not is_ct:
        return 1.0, 0.0
    if slope is None or intercept is None:
        raise UnsupportedPixelData("Rescale Slope or Intercept is missing: stored values cannot be turned into HU.", reason="rescale")
    if not (np.isfinite(float(slope)) and np.isfinite(float(intercept)) and float(slope) != 0.0):
        raise UnsupportedPixelData("Rescale Slope or Intercept is not a usable number.", reason="rescale")
    kind = str(dataset.get("RescaleType") or "HU")
    if is_ct and kind != "HU":
        raise UnsupportedPixelData(f"Rescale Type is {kind}: the CT is not in Hounsfield units.", reason="rescale_type")
    return float(slope), float(intercept)


def is_compressed(one: Slice) -> bool:
    """Tell whether the pixels of a slice have to be decompressed, frame by frame."""
    meta = getattr(one.header, "file_meta", None)
    return meta is not None and _is_encapsulated(UID(str(meta.get("TransferSyntaxUID", ""))))


def _is_encapsulated(syntax: UID) -> bool:
    """Whether frames are compressed one by one (PS3.5 A.4); the deflated syntax compresses the whole data set and is not."""
    return syntax.is_transfer_syntax and syntax.is_encapsulated and not syntax.is_deflated


def check_module(dataset: Dataset, shape: tuple[int, ...]) -> None:
    """Refuse what is not grey, of 8, 16 or 32 bit integers and of the expected matrix.

    Raises
    ------
    UnsupportedPixelData
        reason ``colour``, ``bits`` or ``matrix``.
    """
    if dataset.get("SamplesPerPixel") != 1 or dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedPixelData("Pixel Data is not one grey sample per pixel.", reason="colour")
    allocated, stored, high = (dataset.get(key) for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16, 32) or stored is None or not 1 <= stored <= allocated or high != stored - 1:
        raise UnsupportedPixelData(f"Bits {stored} of {allocated} with high bit {high} are not supported (PS3.5 8.1.1).", reason="bits")
    if dataset.get("PixelRepresentation") not in (0, 1):
        raise UnsupportedPixelData("Pixel Representation is neither 0 nor 1.", reason="bits")
    if (dataset.get("Rows"), dataset.get("Columns")) != shape:
        raise UnsupportedPixelData("Rows and Columns are not those of the series.", reason="matrix")


def _decode(dataset: Dataset) -> NDArray[np.integer]:
    """Decompress with pydicom, which also mends a sign that disagrees between codestream and header."""
    try:
        return np.asarray(dataset.pixel_array)
    except DECODER_ERRORS as error:
        raise _undecodable(UID(str(dataset.file_meta.TransferSyntaxUID)), error) from error


def _undecodable(syntax: UID, error: Exception) -> UnsupportedPixelData:
    return UnsupportedPixelData(f"Pixel Data in {syntax.name} cannot be decoded ({type(error).__name__}).", reason="undecodable")


def _unpack(dataset: Dataset, syntax: UID) -> NDArray[np.integer]:
    """View native pixel data as integers; bits above Bits Stored may hold anything (old overlays) and are cleared or sign-extended."""
    allocated, stored, signed = int(dataset.BitsAllocated), int(dataset.BitsStored), int(dataset.PixelRepresentation)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    data = dataset.PixelData
    if not isinstance(data, bytes) or len(data) < rows * columns * allocated // 8:
        raise UnsupportedPixelData("Pixel Data is shorter than Rows x Columns.", reason="truncated")
    order = ">" if syntax.is_transfer_syntax and not syntax.is_little_endian else "<"
    kind = "i" if signed else "u"
    values = np.frombuffer(data, dtype=f"{order}{kind}{allocated // 8}", count=rows * columns).reshape(rows, columns)
    unused = allocated - stored
    if not unused:
        return values
    # Left then right: an arithmetic shift copies the sign bit, a logical one fills with zero.
    native: NDArray[np.integer] = values.astype(values.dtype.newbyteorder("="))
    native <<= unused
    native >>= unused
    return native
