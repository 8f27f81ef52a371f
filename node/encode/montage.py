"""Panels of grey and colour laid out in one picture, with a legend and a warning that cannot be cropped away unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Rgb = tuple[int, int, int]

WARNING = "AI - UNVERIFIED - not for diagnosis"

CELL = 400  # pixels; each panel is fitted into a square of this side
GAP = 6
COLUMNS = 4
FOOTER = 34  # pixels for one line of the legend
OPACITY = 0.30
SMALL_HOLE = 200  # pixels of the picture

BACKGROUND: Rgb = (0, 0, 0)
PAPER: Rgb = (24, 24, 27)
INK: Rgb = (235, 235, 235)
ALARM: Rgb = (255, 196, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One plane through the patient.

    Attributes
    ----------
    grey, labels : ndarray, shape (down, right), uint8
        Grey values and segment numbers.
    size_mm : tuple of float
        Its height and width.
    down, right : ndarray, shape (3,)
        Where the two axes of the panel point to in the patient (LPS).
    title : str
        What is cut.
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    size_mm: tuple[float, float]
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """One line of the legend."""

    text: str
    rgb: Rgb


def compose(panels: Sequence[Panel], colours: dict[int, Rgb], legends: Sequence[Legend]) -> Image.Image:
    """Lay the panels out in rows of four, the legend and the warning below."""
    rows = -(-len(panels) // COLUMNS)
    lines = max(len(legends), 1)
    width, height = COLUMNS * (CELL + GAP) + GAP, rows * (CELL + GAP) + GAP
    picture = Image.new("RGB", (width, height + lines * FOOTER + GAP), PAPER)
    for place, panel in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        picture.paste(draw_panel(panel, colours), (GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)))
    draw = ImageDraw.Draw(picture)
    for line, legend in enumerate(legends):
        top = height + line * FOOTER
        draw.rectangle((GAP * 2, top + 4, GAP * 2 + 22, top + 26), fill=legend.rgb)
        draw.text((GAP * 2 + 34, top + 15), legend.text, fill=INK, font=_font(19), anchor="lm")
    draw.text((width - GAP * 2, height + 15), WARNING, fill=ALARM, font=_font(22), anchor="rm")
    return picture


def draw_panel(panel: Panel, colours: dict[int, Rgb]) -> Image.Image:
    """Draw one panel into a square cell: aspect by millimetres, segments tinted and outlined, sides of the patient lettered."""
    scale = CELL / max(panel.size_mm)
    height, width = (max(round(length * scale), 1) for length in panel.size_mm)
    grey = Image.fromarray(panel.grey).resize((width, height), Image.Resampling.BILINEAR)
    labels = np.asarray(Image.fromarray(panel.labels).resize((width, height), Image.Resampling.NEAREST))
    pixels = np.repeat(np.asarray(grey, dtype=float)[..., None], 3, axis=2)
    for number, rgb in colours.items():
        mask = labels == number
        pixels[mask] = (1 - OPACITY) * pixels[mask] + OPACITY * np.asarray(rgb)
        pixels[_find_rim(mask)] = rgb
    cell = Image.new("RGB", (CELL, CELL), BACKGROUND)
    cell.paste(Image.fromarray(pixels.astype(np.uint8)), ((CELL - width) // 2, (CELL - height) // 2))
    _letter(cell, panel)
    return cell


def _find_rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the rim of a segment, but not that of small holes in it: a line around each vessel would hide the vessel."""
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    whole = mask | ((holes > 0) & (np.bincount(holes.ravel())[holes] < SMALL_HOLE))
    return np.asarray(whole & ~ndimage.binary_erosion(whole), dtype=np.bool_)


def _letter(cell: Image.Image, panel: Panel) -> None:
    draw, middle, edge = ImageDraw.Draw(cell), CELL / 2, CELL - 8
    places = (
        (name_direction(-panel.right), (8, middle), "lm"),
        (name_direction(panel.right), (edge, middle), "rm"),
        (name_direction(-panel.down), (middle, 8), "mt"),
        (name_direction(panel.down), (middle, edge), "mb"),
    )
    for text, place, anchor in places:
        draw.text(place, text, fill=INK, font=_font(22), anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)
    draw.text((8, 8), panel.title, fill=INK, font=_font(14), anchor="lt", stroke_width=2, stroke_fill=BACKGROUND)
    draw.text((edge, edge), "AI - UNVERIFIED", fill=ALARM, font=_font(14), anchor="rb", stroke_width=2, stroke_fill=BACKGROUND)


def name_direction(vector: NDArray[np.float64]) -> str:
    """Name a direction in the patient as Patient Orientation does (PS3.3 C.7.6.1.1.1): R, L, A, P, H, F, the largest part first.

    A part below 0.3 (17 degrees) is not named.
    """
    letters = (("L", "R"), ("P", "A"), ("H", "F"))
    parts = sorted(range(3), key=lambda axis: -abs(vector[axis]))
    return "".join(letters[axis][0 if vector[axis] > 0 else 1] for axis in parts if abs(vector[axis]) > 0.3)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
