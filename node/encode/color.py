"""Colours as DICOM stores them: CIELab in sixteen bits (PS3.3 C.10.7.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: CIE XYZ of the D65 white point, and the way from there to linear sRGB (IEC 61966-2-1). The standard's profile connection
#: space is of D50, but the library that writes our colours and the viewers that read them take D65.
_WHITE = np.array([0.9505, 1.0, 1.0889])
_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


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
