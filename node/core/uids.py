"""Unique identifiers: which ones we accept, and how ours are made."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

_COMPONENT = r"(?:0|[1-9][0-9]*)"
_UID = re.compile(rf"{_COMPONENT}(?:\.{_COMPONENT})*")

#: The name space of everything that RadNode derives. Changing it would change every identifier that was ever sent.
_NAMESPACE = uuid.UUID("6f1d3c52-9a55-5b0e-8f0c-52ad0de00001")


def is_valid_uid(text: str) -> bool:
    """Tell whether ``text`` is a UID by PS3.5 section 9.1: dotted decimal, no leading zeros, 64 characters at most.

    A UID that passes is also safe as a file name: it holds nothing but digits and dots, and begins with a digit.
    """
    return len(text) <= 64 and _is_well_formed(text)


@lru_cache(maxsize=4096)  # those of study, series and class come again with every instance
def _is_well_formed(text: str) -> bool:
    return _UID.fullmatch(text) is not None


def derive_uuid(*key: str) -> uuid.UUID:
    """Derive a UUID (version 5) from ``key``: the same key gives the same identifier, on every machine, for ever.

    The parts are joined with their lengths, so that ("ab", "c") and ("a", "bc") differ.
    """
    return uuid.uuid5(_NAMESPACE, "".join(f"{len(part)}:{part}," for part in key))


def derive_uid(*key: str) -> str:
    """Derive a UID under 2.25 (PS3.5 section B.2) from ``key``.

    A retry makes the same objects because their identifiers say what they are about and are not drawn.
    """
    return f"2.25.{derive_uuid(*key).int}"
