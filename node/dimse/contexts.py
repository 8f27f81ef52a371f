"""Which presentation contexts we accept: every storage SOP class in every transfer syntax.

The bytes are kept as they came and are never decoded on arrival, so there is no transfer syntax that we could not take.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydicom.uid import UID, UID_dictionary  # type: ignore[attr-defined]
from pynetdicom import AE, _config, sop_class
from pynetdicom.service_class import StorageServiceClass

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

#: pynetdicom's own storage classes, newer than pydicom's dictionary; there is no public way to ask for them by UID.
_KNOWN_STORAGE = frozenset(sop_class._STORAGE_CLASSES.values())  # noqa: SLF001

VERIFICATION = "1.2.840.10008.1.1"

#: A DICOMDIR is no instance of a study, and commitment and stored print are other services than storage.
_NOT_STORAGE = ("Media Storage Directory", "Storage Commitment", "Stored Print")

#: Data sets that are not binary DICOM (PS3.10 Annex on XML, MIME): nothing that a PACS could send.
_NOT_BINARY = ("RFC 2557", "XML Encoding")


@functools.cache
def storage_sop_classes() -> tuple[str, ...]:
    """Every storage SOP class that pydicom or pynetdicom knows, retired ones too (PS3.6 Table A-1), sorted."""
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and "Storage" in entry[0]}
    other = {uid for uid in known if UID_dictionary[uid][0].startswith(_NOT_STORAGE)}
    return tuple(sorted((known - other) | _KNOWN_STORAGE))


def transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax that pydicom knows (PS3.6 Table A-1), the uncompressed ones first."""
    usual = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax" and not entry[0].startswith(_NOT_BINARY)}
    return tuple(usual + sorted(known - set(usual)))


def storing(contexts: Mapping[int, PresentationContext]) -> Mapping[int, str]:
    """Which of an association's accepted contexts are for storage: context ID -> transfer syntax UID.

    Private and unknown abstract syntaxes are, once they were accepted; what PS3.6 lists as something else is not.
    """
    storage = storage_sop_classes()
    return {
        number: str(context.transfer_syntax[0])
        for number, context in contexts.items()
        if context.abstract_syntax in storage or context.abstract_syntax not in UID_dictionary
    }


def support_storage(ae: AE, *, unknown: bool) -> None:
    """Let ``ae`` accept storage, and Verification.

    Parameters
    ----------
    unknown : bool
        Take private and unknown abstract syntaxes for storage classes as well, and whatever transfer syntax is proposed for them.
        pynetdicom keeps this switch for the whole process, which is one reason why a listener has a process of its own.
    """
    _config.UNRESTRICTED_STORAGE_SERVICE = unknown
    _name_other_services()
    ae.add_supported_context(VERIFICATION)
    for uid in storage_sop_classes():
        if unknown and _is_taken_for_storage(uid):
            continue  # accepted without being listed; each association copies the list, so a short one is quick
        if uid not in _KNOWN_STORAGE:
            sop_class.register_uid(uid, UID_dictionary[uid][4], StorageServiceClass)
        # Both roles: a peer that asks by C-GET proposes to be the SCP (PS3.7 Annex D.3.3.4).
        ae.add_supported_context(uid, list(transfer_syntaxes()), scu_role=True, scp_role=True)


def _name_other_services() -> None:
    """Give pynetdicom the names of all that PS3.6 lists and is no storage: what it has no name for, it would take for storage."""
    for uid in UID_dictionary.keys() - set(storage_sop_classes()):
        if keyword := UID_dictionary[uid][4]:
            vars(sop_class).setdefault(keyword, UID(uid))


def _is_taken_for_storage(uid: str) -> bool:
    """Whether pynetdicom's unrestricted storage covers ``uid``: its own storage classes, and what it has no name for."""
    return uid in _KNOWN_STORAGE or not hasattr(sop_class, UID_dictionary[uid][4])
