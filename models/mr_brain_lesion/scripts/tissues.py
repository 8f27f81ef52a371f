"""Tissues of the head phantom, and what a scanner would see of them: PD, T1, T2 and uptake of contrast medium."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """What a voxel of the phantom is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    CSF = 5
    GREY = 6
    WHITE = 7
    DEEP_GREY = 8
    DURA = 9
    VESSEL = 10
    MUCOSA = 11
    VITREOUS = 12
    PLEXUS = 13
    CAP = 14
    OEDEMA = 15
    INFILTRATION = 16
    ENHANCING = 17
    NECROSIS = 18
    ODD_1 = 19
    ODD_2 = 20
    ODD_3 = 21


@dataclass(frozen=True, slots=True)
class Properties:
    """Proton density (0 to 1), relaxation times at 1.5 T in milliseconds, contrast medium in mmol/l, and their spread from head to head."""

    pd: float
    t1_ms: float
    t2_ms: float
    gadolinium_mm: float = 0.0
    spread: float = 0.06


#: Rounded from published tables at 1.5 T (see docs/README.md); fat has the longer T2 that a fast spin-echo train sees.
PROPERTIES = {
    Tissue.AIR: Properties(0.0, 1000.0, 50.0),
    Tissue.FAT: Properties(0.90, 270.0, 95.0, 0.0, 0.15),
    Tissue.MUSCLE: Properties(0.78, 950.0, 42.0, 0.08, 0.12),
    Tissue.BONE: Properties(0.12, 300.0, 8.0, 0.0, 0.3),
    Tissue.MARROW: Properties(0.60, 400.0, 70.0, 0.03, 0.3),
    Tissue.CSF: Properties(1.00, 4200.0, 1600.0, 0.0, 0.08),
    Tissue.GREY: Properties(0.82, 1010.0, 98.0, 0.02, 0.05),
    Tissue.WHITE: Properties(0.70, 650.0, 76.0, 0.01, 0.05),
    Tissue.DEEP_GREY: Properties(0.78, 880.0, 82.0, 0.02, 0.06),
    Tissue.DURA: Properties(0.60, 900.0, 55.0, 0.35, 0.3),
    # Blood that flows through the slice leaves no spin echo; what is slow shows contrast medium.
    Tissue.VESSEL: Properties(0.75, 1200.0, 45.0, 1.0, 0.3),
    Tissue.MUCOSA: Properties(0.85, 1150.0, 110.0, 0.5, 0.3),
    Tissue.VITREOUS: Properties(0.98, 3900.0, 1300.0, 0.0, 0.1),
    Tissue.PLEXUS: Properties(0.90, 1500.0, 180.0, 0.6, 0.3),
    Tissue.CAP: Properties(0.74, 780.0, 95.0, 0.0, 0.08),
    Tissue.OEDEMA: Properties(0.87, 1250.0, 180.0, 0.02, 0.12),
    Tissue.INFILTRATION: Properties(0.90, 1300.0, 200.0, 0.03, 0.13),
    Tissue.ENHANCING: Properties(0.84, 1250.0, 120.0, 0.55, 0.3),
    Tissue.NECROSIS: Properties(0.93, 2300.0, 350.0, 0.03, 0.35),
    # Below the brain there is more than the phantom has names for: anything between fat, muscle, gland and mucosa, another in each head.
    Tissue.ODD_1: Properties(0.80, 700.0, 70.0, 0.2, 0.5),
    Tissue.ODD_2: Properties(0.85, 900.0, 110.0, 0.3, 0.5),
    Tissue.ODD_3: Properties(0.85, 500.0, 90.0, 0.1, 0.5),
}

#: Tissues that lesions grow in.
BRAIN = (Tissue.GREY, Tissue.WHITE, Tissue.DEEP_GREY, Tissue.CAP)


def draw_properties(rng: np.random.Generator, field_t: float) -> NDArray[np.float64]:
    """Draw one head's tissue properties.

    Parameters
    ----------
    rng : Generator
    field_t : float
        Tesla: T1 grows by about a third from 1.5 T to 3 T, that of fluids and fat hardly; T2 shrinks a little.

    Returns
    -------
    ndarray, shape (tissue, 4)
        Proton density, T1 and T2 in milliseconds, contrast medium in mmol/l.
    """
    table = np.zeros((len(Tissue), 4))
    stronger = (field_t - 1.5) / 1.5
    for tissue in Tissue:
        nominal = PROPERTIES[tissue]
        factors = np.exp(rng.normal(0.0, nominal.spread, 4))
        slow = tissue in {Tissue.CSF, Tissue.VITREOUS, Tissue.FAT}
        table[tissue] = np.array([nominal.pd, nominal.t1_ms, nominal.t2_ms, nominal.gadolinium_mm]) * factors
        table[tissue, 1] *= 1.0 + (0.02 if slow else 0.33) * stronger
        table[tissue, 2] *= 1.0 - (0.0 if slow else 0.12) * stronger
    table[:, 0] = np.minimum(table[:, 0], 1.0)
    return table
