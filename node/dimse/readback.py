"""Asking a destination whether it has what it said Success to: Query SCU, Study Root, at the level of instances (PS3.4 Annex C)."""

from __future__ import annotations

from collections.abc import Sequence
from ssl import SSLContext

from pynetdicom import build_context

from node.core.errors import PeerUnavailable
from node.core.remote import RemoteAE
from node.core.result import StoredObject
from node.dimse.associate import Caller, associate
from node.dimse.count import STUDY_ROOT_FIND, SYNTAXES, find


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
    association = associate(caller, remote, [build_context(STUDY_ROOT_FIND, SYNTAXES)], tls)
    try:
        return frozenset(
            stored.sop_instance_uid
            for stored in objects
            if find(
                association,
                remote,
                "IMAGE",
                {
                    "StudyInstanceUID": study_instance_uid,
                    "SeriesInstanceUID": stored.series_instance_uid,
                    "SOPInstanceUID": stored.sop_instance_uid,
                },
            )
        )
    except (RuntimeError, ValueError) as error:  # pynetdicom's words for an association that has ended, or for no such context
        raise PeerUnavailable(f"{remote.name} ended the association before it had answered.", reason="aborted") from error
    finally:
        if association.is_established:
            association.release()
