"""Attribute matching (PS3.4 section C.2.2.2): single value, list of UID, universal, wild card and range.

Not here: sequence matching, which is answered as universal, and range matching of VR DT, which no attribute of ours has.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

#: A pattern longer than any value of these VRs (PS3.5 Table 6.2-1; PN has three groups of 64) matches nothing, and is not tried.
_LONGEST_PATTERN = 1024
_FIRST_TIME, _LAST_TIME = "000000.000000", "235959.999999"


def is_universal(wanted: Sequence[str]) -> bool:
    """Whether a key matches whatever there is, even nothing (PS3.4 section C.2.2.2.3 and C.2.2.2.4)."""
    return not any(value.strip("*") for value in wanted)


def matches(vr: str, wanted: Sequence[str], found: Sequence[str]) -> bool:
    """Whether any of the values that an entity has is any of those that are wanted."""
    if is_universal(wanted):
        return True
    match = _MATCH.get(vr, _match_text)
    return any(match(want, value) for want in wanted if want for value in found or ("",))


def _match_text(wanted: str, found: str) -> bool:
    """Wild card or single value matching, case-sensitive; spaces around a value mean nothing."""
    return _compare(wanted.strip(), found.strip())


def _compare(wanted: str, found: str) -> bool:
    if "*" not in wanted and "?" not in wanted:
        return wanted == found
    if len(wanted) > _LONGEST_PATTERN:
        return False
    # fnmatch knows brackets too, which mean themselves here; what it makes never backtracks into an asterisk before the last.
    return re.fullmatch(fnmatch.translate(wanted.replace("[", "[[]")), found) is not None


def _match_name(wanted: str, found: str) -> bool:
    """Person names: whatever the case, by each group that is asked for, by any where one is (PS3.5 section 6.2.1)."""
    wants, groups = ([_fold(group) for group in name.split("=")] for name in (wanted, found))
    if len(wants) == 1:
        return any(_compare(wants[0], group) for group in groups)
    return len(wants) <= len(groups) and all(_compare(want, group) for want, group in zip(wants, groups, strict=False) if want)


def _fold(group: str) -> str:
    """Components at the end that are empty may be left out, and so may spaces around components."""
    return "^".join(part.strip() for part in group.casefold().split("^")).rstrip("^")


def _match_date(wanted: str, found: str) -> bool:
    found = found.replace(".", "").strip()  # yyyy.mm.dd was once allowed (PS3.5 Table 6.2-1, Note)
    if not re.fullmatch(r"\d{8}", found):
        return False
    low, high = _limits(wanted.replace(".", "").strip())
    return (not low or low <= found) and (not high or found <= high)


def _match_time(wanted: str, found: str) -> bool:
    """Times are compared as far as they are given: 10 is the whole hour."""
    found = found.replace(":", "").strip()
    if not re.fullmatch(r"\d{2,6}(\.\d{1,6})?", found):
        return False
    low, high = _limits(wanted.replace(":", "").strip())
    exact = found + _FIRST_TIME[len(found) :]
    return low + _FIRST_TIME[len(low) :] <= exact <= high + _LAST_TIME[len(high) :]


def _limits(wanted: str) -> tuple[str, str]:
    low, hyphen, high = wanted.partition("-")
    return (low.strip(), high.strip()) if hyphen else (wanted, wanted)


def _match_uid(wanted: str, found: str) -> bool:
    return wanted.strip("\0 ") == found.strip("\0 ")


def _match_number(wanted: str, found: str) -> bool:
    try:
        return float(wanted) == float(found)
    except ValueError:
        return wanted.strip() == found.strip()


_MATCH: dict[str, Callable[[str, str], bool]] = {
    "DA": _match_date,
    "TM": _match_time,
    "UI": _match_uid,
    "PN": _match_name,
    **dict.fromkeys(("DS", "IS", "US", "UL", "SS", "SL"), _match_number),
}
