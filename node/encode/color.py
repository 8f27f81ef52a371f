"""Colours as DICOM stores them: CIELab in sixteen bits (PS3.3 C.10.7.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: CIE XYZ of the D50 white point, to which the values refer, and the Bradford-adapted way from there to linear sRGB.
_WHITE = np.array([0.96422, 1.0, 0.82521])
_TO_SRGB = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]])


def to_rgb(values: Sequence[int]) -> tuple[int, int, int]:
    """Turn a Recommended Display CIELab Value (0062,000D) into sRGB, 0 to 255 each."""
    lightness, a, b = (int(value) for value in values)
    middle = lightness / 65535 * 100 / 116 + 16 / 116
    steps = np.array([middle + (a / 257 - 128) / 500, middle, middle - (b / 257 - 128) / 200])
    xyz = _WHITE * np.where(steps > 6 / 29, steps**3, 3 * (6 / 29) ** 2 * (steps - 4 / 29))
    linear = np.clip(_TO_SRGB @ xyz, 0, 1)
    encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    red, green, blue = (round(float(value) * 255) for value in encoded)
    return red, green, blue
