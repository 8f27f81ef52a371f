"""How images were made: contrast media and the MR sequence, from classic and from enhanced headers (PS3.3 C.7.6.4, C.8.3, C.8.13)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

Range = tuple[float, float]

#: What scanners write where the standard wants nothing to be written.
_NO_AGENT = {"", "NO", "NONE", "N/A"}
#: What enhanced MR says instead of Scanning Sequence: PS3.3 C.8.13.4.
_ENHANCED = (
    ("EchoPulseSequence", {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}),
    ("EchoPlanarPulseSequence", {"YES": {"EP"}}),
    ("InversionRecovery", {"YES": {"IR"}}),
)


def contrast_of(headers: Sequence[Dataset]) -> str:
    """Whether a contrast agent was used: ``given``, ``none``, or ``mixed`` when only for some slices.

    The module is required if contrast media was used in the image (PS3.3 A.3.3, A.4.3): where it is not, none was used.
    """
    found = {_has_contrast(header) for header in headers}
    return "mixed" if len(found) > 1 else "given" if found.pop() else "none"


def _has_contrast(header: Dataset) -> bool:
    usage = header.get("ContrastBolusUsageSequence")
    if usage:
        return any(item.get("ContrastBolusAgentAdministered") == "YES" for item in usage)
    agents = header.get("ContrastBolusAgent")
    texts = agents if isinstance(agents, MultiValue) else [agents or ""]
    named = any(str(text).strip().upper() not in _NO_AGENT for text in texts)
    return named or bool(header.get("ContrastBolusAgentSequence")) or float(header.get("ContrastBolusVolume") or 0) > 0


def sequence_of(headers: Sequence[Dataset]) -> frozenset[str]:
    """Scanning Sequence (0018,0020) of any slice: SE, GR, IR, EP, RM."""
    found: set[str] = set()
    for header in headers:
        value = header.get("ScanningSequence") or ()
        found.update([value] if isinstance(value, str) else value)
        for keyword, meanings in _ENHANCED:
            found |= meanings.get(str(header.get(keyword, "")), set())
    return frozenset(found)


def range_of(headers: Sequence[Dataset], *keywords: str) -> Range | None:
    """The least and the most of a number, under the first keyword that a header has; None when a slice does not say it.

    Zero, which scanners write for a time that there is not, is no time; a b-value of zero is one.
    """
    values: list[float] = []
    for header in headers:
        value = next((header.get(keyword) for keyword in keywords if header.get(keyword) not in (None, "")), None)
        if value is None:
            return None
        values.extend(float(one) for one in (value if isinstance(value, MultiValue) else [value]))
    if not any(values) and "DiffusionBValue" not in keywords:
        return None
    return min(values), max(values)
