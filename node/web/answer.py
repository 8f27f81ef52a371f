"""What a Store request is answered (PS3.18 section 10.5.3 and Annex I)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Response

from node.web.refused import Refused
from node.web.submission import Outcome

DICOM_JSON = "application/dicom+json"
#: Seconds after which a sender that met a full disk, a database that is away or too many others may come again.
_RETRY_AFTER = "30"
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


def answer(outcomes: Sequence[Outcome]) -> Response:
    """The answer to a request whose body came whole."""
    return _respond(status_of(outcomes), json.dumps(store_response(outcomes)), DICOM_JSON)


def answer_refused(refused: Refused, outcomes: Sequence[Outcome] = ()) -> Response:
    """The answer to a request that was given up; it says what was stored before, for that stays."""
    if outcomes:
        response = _respond(refused.status, json.dumps(store_response(outcomes)), DICOM_JSON)
        response.headers["Warning"] = f'299 radnode "{refused.sentence}"'
    else:
        response = _respond(refused.status, json.dumps({"status": refused.status, "sentence": refused.sentence}), "application/json")
    if refused.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if refused.status == HTTPStatus.REQUEST_TIMEOUT:
        response.headers["Connection"] = "close"
    return response


def status_of(outcomes: Sequence[Outcome]) -> HTTPStatus:
    """Sum up what became of the parts (PS3.18 Table 10.5.3-1)."""
    failures = [outcome.status for outcome in outcomes if outcome.status]
    if not failures:
        return HTTPStatus.OK
    if len(failures) < len(outcomes):
        return HTTPStatus.ACCEPTED
    if all(status in _OUT_OF_RESOURCES for status in failures):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.CONFLICT


def store_response(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The Store Instances Response Module (PS3.18 Table I.1-1) in the DICOM JSON Model (PS3.18 Annex F).

    Its Retrieve URLs are empty: there is no Retrieve transaction here.
    """
    stored: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for outcome in outcomes:
        reference = {"00081150": _element("UI", outcome.sop_class_uid), "00081155": _element("UI", outcome.sop_instance_uid)}
        reason = {"00081197": _element("US", outcome.status)}
        if not outcome.status:
            stored.append({**reference, "00081190": {"vr": "UR"}})
        elif outcome.sop_class_uid and outcome.sop_instance_uid:
            failed.append({**reference, **reason})
        else:
            others.append(reason)
    sequences = {"00081198": failed, "00081199": stored, "0008119A": others}
    return {"00081190": {"vr": "UR"}, **{tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}}


def _element(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _respond(status: HTTPStatus, body: str, media_type: str) -> Response:
    response = Response(body, status, media_type=media_type)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = _RETRY_AFTER
    return response
