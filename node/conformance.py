"""The conformance statement, made from the tables that the node runs by: what it negotiates, answers and creates (PS3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.uid import UID

from node import __version__
from node.core import errors
from node.core.query import LEVELS
from node.core.states import COMMITMENT, DELIVERY, STEP, STUDY, WORK, Transitions, states_of
from node.dimse.contexts import VERIFICATION, storage_sop_classes, transfer_syntaxes
from node.dimse.mpps import MPPS, STATUS, STATUS_OF_SET
from node.dimse.mpps import TRANSFER_SYNTAXES as SYNTAXES_OF_STEPS
from node.dimse.query import FIND, SYNTAXES
from node.dimse.retrieve import GET, MOVE
from node.query.attributes import KNOWN, READ

_INTRODUCTION = """\
# DICOM conformance statement

RadNode {version}. This file is printed by `radnode conformance` out of the tables that the node runs by; a test holds the two together.

RadNode is **not a medical device**.

## Overview

| network service | user (SCU) | provider (SCP) |
| --- | --- | --- |
| Verification | yes (`radnode check --peers`) | yes |
| Storage | yes: Segmentation, Comprehensive 3D SR | yes: every class below |
| Modality Performed Procedure Step | no | yes |
| Storage Commitment Push Model | yes, of destinations with `confirm = "commitment"` | yes |
| DICOMweb Store (STOW-RS) | yes, of destinations with `kind = "stow"` | yes, with `[web]` |
| DICOMweb Search (QIDO-RS) | instances, of the same | not yet |
| Query/Retrieve (FIND, MOVE, GET; Patient Root and Study Root) | FIND, of the peer in a `[[called]]` table and of destinations | yes |
| The rest of DICOMweb | not yet | not yet |

Files come in through `radnode ingest` as if they had been sent.

## Security

- TLS by the BCP 195 profiles of PS3.15 Annex B: 1.2 or newer, authenticated ciphers with forward secrecy. `[listen.tls]` for
  senders, mutual with an authority; `[destination.tls]` for destinations.

## Association policy

- Called AE title: `node.ae_title`, `listen.called_ae` and every `[[called]]` table; any with `listen.any_called_ae`. Who may call:
  `listen.calling_ae`, `listen.addresses`, `listen.tls.names`; anyone where they are empty. A `[[called]]` table may name other
  AE titles and networks for its title.
- Rejected associations: 1 (permanent), source 1, reason 7 or 3 for an AE title that is not recognised, 1 for an address or a client
  certificate; 2 (transient), source 3, reason 2 above `listen.max_associations` or `listen.max_per_peer`. Each is in the audit log
  with its reason in words.
- Maximum PDU that is announced: `listen.max_pdu`; data sets are taken in longer ones too. An association that is silent for
  `listen.idle_s` is aborted, and so is one that is slower than `listen.slowest_bytes_per_s` within a message. A request for an
  association has 30 seconds from its connection, or `listen.idle_s` if that is less.
- SOP Class Extended Negotiation for storage classes is answered: level 2 (full), digital signature level unspecified, no coercion.
  Common Extended Negotiation is taken without an answer. User identities are accepted, not interpreted and not confirmed. One
  operation at a time, and said so when a window of asynchronous operations was proposed. Items that are not known are skipped.
- A C-STORE in a context that is not for storage, one without a data set, and other requests in a context for storage are aborted.
- With `listen.unknown_storage` private and unknown abstract syntaxes are accepted for storage, and the first transfer syntax that
  is proposed.
- Data sets are kept as they came, byte for byte; nothing is coerced, decoded or converted.

## DICOMweb Store (PS3.18 section 10.5)

- `POST /studies` and `POST /studies/{{study}}`, HTTP/1.1. Request: `multipart/related; type="application/dicom"`, any transfer syntax; each
  part a DICOM file whose File Meta Information names the instance. `application/dicom+json` and `+xml` (metadata and bulk data) are
  answered 415.
- Response: `application/dicom+json` only, else 406. Retrieve URL (0008,1190) is empty: there is no Retrieve transaction. Failure Reason
  (0008,1197) is the status of the table below; a part of another study than the path says fails with 0xA900. What has no SOP Instance
  UID is an item of Other Failures Sequence (0008,119A).
- 200, 202 and 409 as in PS3.18 Table 10.5.3-1; 503 with Retry-After when every part failed for want of disk or database, when there is no
  room to begin with, or above `web.max_requests`; 413 above `web.max_request_bytes` and `listen.max_instance_bytes`; 408 for senders
  that are silent or too slow. A body that breaks off or is no multipart message is answered 400; what came whole before stays stored,
  and the response lists it.
- `listen.called_ae`, `calling_ae`, `addresses` and `unknown_storage` do not apply. Security: bearer tokens (RFC 6750), TLS as above by
  `[web.tls]`; without tokens and without an authority only on a loopback address.

## Answers to C-STORE

| status | when |
| --- | --- |
| 0x0000 Success | the bytes are durable, and so is the fact of them; or the same bytes were held already |
"""

_STEPS = """
## Performed procedure steps

SOP class {uid}; N-CREATE and N-SET. Transfer syntaxes: {syntaxes}.

- N-CREATE needs a value of Scheduled Step Attributes Sequence > Study Instance UID, Performed Procedure Step ID, Performed Station AE
  Title, Start Date, Start Time, Status and Modality. Without a SOP Instance UID, one under 2.25 is made and answered.
- N-SET changes Status, End Date and Time, Discontinuation Reason Code Sequence and Performed Series Sequence (Series Instance UID,
  Referenced SOP Instance UIDs of both lists). Nothing else is kept or looked at, no attribute of the patient; what is absent of it is
  not missed. Nothing is coerced.
- COMPLETED needs End Date, End Time and at least one performed series, stated before or with it. DISCONTINUED is taken without them.
- The creation of a step changes nothing else. COMPLETED tells which instances to expect. DISCONTINUED ends work on the study that
  has not been delivered. Steps are kept as long as the ledger.

| status | N-CREATE | N-SET |
| --- | --- | --- |
"""

_COMMITMENT = """
## Storage Commitment Push Model

- N-ACTION (type 1) is answered 0x0000 when the request is durable; 0x0112, 0x0115, 0x0118, 0x0123, 0x0213 or 0x0110 otherwise. Up to 50,000
  instances in one request; Explicit and Implicit VR Little Endian.
- An instance is committed when its row is in the ledger and its file is there with its recorded length; of objects that we made, with their
  digest. Failure reasons: 0x0110 the file is not what was recorded, 0x0112 not held, 0x0119 held as another class, 0x0131 this
  requester has used the Transaction UID for other instances. The same request again gets the same report again.
- Committed instances are kept; nothing is removed by itself.
- N-EVENT-REPORT (type 1, or 2 when failures exist) goes out on the association of the request when that is still open after
  `commitment.same_association_s`; otherwise, or when it is not answered with Success there, on an association of ours to the `[[peer]]` or
  `[[destination]]` that has the requester's AE title. We call ourselves as the requester did, and propose the SCP role (SCU 0, SCP 1);
  a requester that answers no role selection is told all the same.
- A report that was not answered with Success or a warning is tried again with growing delay for `commitment.give_up_s`, across restarts. A
  report may come twice when we die between its answer and our note of it.
"""

_QUERY = """
## Query/Retrieve

Asked for may be everything that is held: received instances and the objects that were made of them. `[query]` says who may ask
(`query.calling_ae`) and how many matches one question has at most (`query.most_matches`).

| SOP class | UID |
| --- | --- |
{classes}
- Identifiers in {syntaxes}. Hierarchical queries; relational ones, extended negotiation and fuzzy matching are not supported.
- Matching: single value, list of UID (a list for other value representations too: any of them), universal, wild card, range of DA and
  TM. Person names whatever their case, by each component group; all else case-sensitive. Sequences are not matched.
- A key that is not supported, or belongs to a lower level, comes back empty, and the status of each match is 0xFF01 instead of 0xFF00.
- Each match has Query/Retrieve Level, Retrieve AE Title, Instance Availability (ONLINE) and, where it is known, Timezone Offset From
  UTC. The attributes of a patient, a study or a series are those of one of its instances.
- Questions in any character set that pydicom knows. Answers in ASCII where that suffices, else in the character set of the question,
  else in ISO_IR 192.
- Sub-operations send what is stored, byte for byte, in its own transfer syntax: nothing is converted, and what the other side does not
  take is a failed sub-operation. C-MOVE opens associations of its own to the `[[peer]]` or `[[destination]]` with the title that is
  asked for, one for every 128 pairs of SOP class and transfer syntax. C-GET needs the SCP role for each storage class (PS3.7
  D.3.3.4), and of several transfer syntaxes in one presentation context takes the first where the class is known to the toolkit.
- C-CANCEL ends a question or the sub-operations that have not begun: 0xFE00.

| status | service | when |
| --- | --- | --- |
| 0x0000 Success | all | all matches were given, every sub-operation has succeeded, or nothing matches |
| 0xB000 Warning | C-MOVE, C-GET | some sub-operations have failed, or ended with a warning; the failed ones are listed, up to 1000 |
| 0xA702 | C-MOVE, C-GET | every sub-operation has failed |
"""

_ASKED = """
Keys that are supported, by the level that they belong to; those of the levels above are answered too, but for counts:

| level | known from the ledger | read from the header of one instance |
| --- | --- | --- |
"""

_CREATED = """
## Objects that are created

| object | SOP class | character |
| --- | --- | --- |
| SEG | 1.2.840.10008.5.1.4.1.1.66.4 | BINARY, on the source's grid and Frame of Reference, segments may overlap, no empty frames |
| SR | 1.2.840.10008.5.1.4.1.1.88.34 | Comprehensive 3D SR, TID 1500, see below |

- What was segmented: a SEG, and an SR with TID 1411 and TID 1410 for each segment, tracked as the segment.
- Boxes of a detector: an SR alone; for each box TID 1410 with its section, a closed POLYLINE on the image nearest to its centre, its sizes
  and (MODEL_SCORE, 99RADNODE, "Score of the model") in {score}, which is no probability unless the model's documentation says so.
- Scores of a classifier: an SR alone; for each finding TID 1411 (of a single image TID 1410) about the whole of every image, with
  (SCORE_..., 99RADNODE, "Score of the model: ...").
- A model that ran and found nothing makes an SR alone. In Qualitative Evaluations (C0034375, UMLS) it has (111017, DCM, "CAD Processing
  and Findings Summary") = (111241, DCM, "All algorithms succeeded; without findings"), and of each label that was looked for its type =
  (272519000, SCT, "Absent"), of an anatomical structure = 111241 again. One measurement group without a Finding counts the images.
- Images of all inputs are evidence. References to frames of multi-frame images name instance and frame.
- Algorithm Parameters (111002, DCM) hold the sha256 of the model's files and the intended use of the pipeline.
- All are in Explicit VR Little Endian.
- Patient and study attributes are copied from the source and compared again before anything is sent. Series and instance UIDs are derived
  (2.25, UUID version 5) from the job, so that a retry sends the same objects.
- Marked AI and UNVERIFIED: Series Description, Verification Flag UNVERIFIED, Preliminary Flag PRELIMINARY, Segment Algorithm Type
  AUTOMATIC, Contributing Equipment (109102, DCM, "Processing Equipment") with a Device UID derived from the model's digest, as
  IHE AI Results asks.
- Units are UCUM, codes SNOMED CT and DCM; 99RADNODE where neither has one.

## Deliveries

C-STORE in one association for each destination, a SEG before the SR that refers to it. Success and warnings (0xBxxx) count as
stored; 0x0110, 0x0210, 0x0213 and 0xA7xx, no answer and no association are tried again with growing delay; anything else is
parked with its reason.

Behind Success: Storage Commitment Push Model as SCU (N-ACTION with a Transaction UID under 2.25), the report taken on the same
association for `deliver.same_association_s`, or on one that the destination requests, with or without role selection (SCP role).
N-EVENT-REPORT is answered 0x0000 when it is in the ledger, 0x0115 for a Transaction UID that we have not used, 0x0113 for another event
type, 0x0110 when it cannot be written. Failure reason 0x0112 has the object sent again; 0x0110 and 0x0213 have it asked for again; with
any other, C-FIND decides. C-FIND: Study Root, level IMAGE, hierarchical, one question for each object by Study, Series and SOP Instance
UID.

By HTTP: `POST {url}/studies`, one `application/dicom` part in each request; bearer token or basic authentication. Search:
`GET {url}/studies/{study}/series/{series}/instances?SOPInstanceUID={uid}`, `application/dicom+json`.
"""


def statement() -> str:
    """The whole statement, as Markdown."""
    parts = [
        _INTRODUCTION.format(version=__version__),
        *(_row(f"0x{kind.status:04X} {kind.code}", _first_line(kind)) for kind in _refusals()),
        "| 0x0110 | something that nobody had thought of; the log has it |\n",
        _STEPS.format(uid=MPPS, syntaxes=", ".join(UID(uid).name for uid in SYNTAXES_OF_STEPS)),
        *_step_statuses(),
        _COMMITMENT,
        *_query(),
        _CREATED,
        "\n## States\n\n| what | states |\n| --- | --- |\n",
        *(_row(name, " ".join(f"`{state}`" for state in states_of(table))) for name, table in _tables()),
        f"\n## SOP classes\n\nVerification ({VERIFICATION}) and, for storage:\n\n| UID | name |\n| --- | --- |\n",
        *_uids(storage_sop_classes()),
        "\n## Transfer syntaxes\n\nEach of these for every storage SOP class:\n\n| UID | name |\n| --- | --- |\n",
        *_uids(transfer_syntaxes()),
    ]
    return "".join(parts)


def _step_statuses() -> Iterable[str]:
    yield _row("0x0000 Success", "the fact is committed", "the fact is committed")
    not_answered = ({"unknown", "final"}, {"duplicate"})
    for status in sorted({*STATUS.values()}):
        reasons = (
            ", ".join(reason.replace("_", " ") for reason, answered in table.items() if answered == status and reason not in never)
            for table, never in zip((STATUS, STATUS_OF_SET), not_answered, strict=True)
        )
        yield _row(f"0x{status:04X}", *reasons)
    yield _row("0x0110", *["something that nobody had thought of"] * 2)
    yield _row("0x0213", *["the ledger cannot be written now; send it again"] * 2)


def _query() -> Iterable[str]:
    classes = "".join(_row(UID(uid).name, uid) for uid in (*FIND, *MOVE, *GET))
    yield _QUERY.format(classes=classes, syntaxes=" and ".join(UID(uid).name for uid in SYNTAXES))
    for kind in sorted(errors.QueryRefused.__subclasses__(), key=lambda kind: kind.status):
        yield _row(f"0x{kind.status:04X} {kind.code}", "all", _first_line(kind))
    yield _ASKED
    yield from (_row(level, " ".join(KNOWN[level]), " ".join(READ[level])) for level in LEVELS)


def _refusals() -> Sequence[type[errors.RefusedByUs]]:
    return sorted(errors.RefusedByUs.__subclasses__(), key=lambda kind: kind.status)


def _tables() -> Iterable[tuple[str, Transitions]]:
    of_us = (("study", STUDY), ("job, parcel", WORK), ("delivery", DELIVERY))
    return (*of_us, ("performed procedure step", STEP), ("commitment", COMMITMENT))


def _uids(uids: Iterable[str]) -> Iterable[str]:
    return (_row(uid, UID(uid).name) for uid in uids)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0].rstrip(".")
