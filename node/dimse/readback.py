"""Asking a destination whether it has what it said Success to: Query SCU, Study Root, at the level of instances (PS3.4 Annex C)."""

from __future__ import annotations

from collections.abc import Sequence
from ssl import SSLContext

from node.core.remote import RemoteAE
from node.core.result import StoredObject
from node.dimse.ask import asking
from node.dimse.associate import Caller


def find_instances(
    caller: Caller, remote: RemoteAE, study_instance_uid: str, objects: Sequence[StoredObject], tls: SSLContext | None = None
) -> frozenset[str]:
    """Return the SOP Instance UIDs of those ``objects`` that ``remote`` answers with.

    Each is asked for by all its unique keys (PS3.4 section C.4.1.2.1), and an answer counts only when it has the same.

    Raises
    ------
    PeerUnavailable
        If it cannot be reached, or does not answer.
    PeerRefused
        If it will not be asked.
    """
    with asking(caller, remote, tls) as peer:
        return frozenset(stored.sop_instance_uid for stored in objects if peer.find("IMAGE", _keys_of(study_instance_uid, stored)))


def _keys_of(study_instance_uid: str, stored: StoredObject) -> dict[str, str]:
    return {
        "StudyInstanceUID": study_instance_uid,
        "SeriesInstanceUID": stored.series_instance_uid,
        "SOPInstanceUID": stored.sop_instance_uid,
    }
