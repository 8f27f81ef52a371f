"""C-STORE statuses: what they mean for a delivery (PS3.4 Table B.2-1; PS3.7 section 9.1.1.1.9 and Annex C)."""

from __future__ import annotations

from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from node.core.result import Answer

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110

#: Failures that may pass by themselves. Everything else means that the same object will be refused again.
_TRANSIENT = frozenset({0x0110, 0x0210, 0x0213, *range(0xA700, 0xA800)})


def judge(status: int | None) -> Answer:
    """Tell what a C-STORE response means for the object that was sent.

    Parameters
    ----------
    status : int or None
        Status (0000,0900) of the response; None when none came.

    Returns
    -------
    Answer
        Accepted on Success and on warnings (the object was stored), to be sent again on failures that may pass, refused otherwise.
    """
    if status is None:
        return Answer(
            event="retry", dimse_status=None, sentence="The destination did not answer; it may or may not have stored the object."
        )
    category = code_to_category(status)
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, (category, ""))[1] or category
    if category == "Success":
        return Answer(event="accept", dimse_status=status, sentence="Stored.")
    if category == "Warning":
        return Answer(event="accept", dimse_status=status, sentence=f"Stored with a warning: {meaning}.")
    if status in _TRANSIENT:
        return Answer(event="retry", dimse_status=status, sentence=f"The destination could not store it now: {meaning}.")
    return Answer(event="refuse", dimse_status=status, sentence=f"The destination refused it: {meaning}. Correct the cause, then replay.")
