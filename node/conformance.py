"""The conformance statement, made from the tables that the node runs by: what it negotiates, answers and creates (PS3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.uid import UID

from node import __version__
from node.core import errors
from node.core.states import DELIVERY, STUDY, WORK, Transitions, states_of
from node.dimse.contexts import VERIFICATION, storage_sop_classes, transfer_syntaxes

_INTRODUCTION = """\
# DICOM conformance statement

RadNode {version}. This file is printed by `radnode conformance` out of the tables that the node runs by; a test holds the two together.

RadNode is **not a medical device**.

## Overview

| network service | user (SCU) | provider (SCP) |
| --- | --- | --- |
| Verification | yes (`radnode check --peers`) | yes |
| Storage | yes: Segmentation, Comprehensive 3D SR | yes: every class below |
| Storage Commitment, MPPS, Query/Retrieve, DICOMweb | not yet | not yet |

Files come in through `radnode ingest` as if they had been sent.

## Security

- TLS by the BCP 195 profiles of PS3.15 Annex B: 1.2 or newer, authenticated ciphers with forward secrecy. `[listen.tls]` for
  senders, mutual with an authority; `[destination.tls]` for destinations.

## Association policy

- Called AE title: `node.ae_title` and `listen.called_ae`; any with `listen.any_called_ae`. Who may call: `listen.calling_ae`,
  `listen.addresses`, `listen.tls.names`; anyone where they are empty.
- Rejected associations: 1 (permanent), source 1, reason 7 or 3 for an AE title that is not recognised, 1 for an address or a client
  certificate; 2 (transient), source 3, reason 2 above `listen.max_associations` or `listen.max_per_peer`. Each is in the audit log
  with its reason in words.
- Maximum PDU that is taken: `listen.max_pdu`. Asynchronous operations are not negotiated. An association that is silent for
  `listen.idle_s` is aborted, and so is one that is slower than `listen.slowest_bytes_per_s` within a message.
- With `listen.unknown_storage` private and unknown abstract syntaxes are accepted for storage, and the first transfer syntax that
  is proposed.
- Data sets are kept as they came, byte for byte; nothing is coerced, decoded or converted.

## Answers to C-STORE

| status | when |
| --- | --- |
| 0x0000 Success | the bytes are durable under their final name, and so is the fact of them; or the same bytes were held already |
"""

_CREATED = """
## Objects that are created

| object | SOP class | character |
| --- | --- | --- |
| SEG | 1.2.840.10008.5.1.4.1.1.66.4 | BINARY, on the source's grid and Frame of Reference, no empty frames, Explicit VR Little Endian |
| SR | 1.2.840.10008.5.1.4.1.1.88.34 | Comprehensive 3D SR, TID 1500; for each finding TID 1411 and TID 1410, tracked as its segment |

- Patient and study attributes are copied from the source and compared again before anything is sent. Series and instance UIDs are derived
  (2.25, UUID version 5) from the job, so that a retry sends the same objects.
- Marked AI and UNVERIFIED: Series Description, Verification Flag UNVERIFIED, Preliminary Flag PRELIMINARY, Segment Algorithm Type
  AUTOMATIC, Contributing Equipment (109102, DCM, "Processing Equipment") with a Device UID derived from the model's digest, as
  IHE AI Results asks.
- Units are UCUM, codes SNOMED CT and DCM; 99RADNODE where neither has one.

## Deliveries

C-STORE in one association for each destination, SEG before the SR that refers to it. Success and warnings (0xBxxx) count as
stored; 0x0110, 0x0210, 0x0213 and 0xA7xx, no answer and no association are tried again with growing delay; anything else is
parked with its reason.
"""


def statement() -> str:
    """The whole statement, as Markdown."""
    parts = [
        _INTRODUCTION.format(version=__version__),
        *(_row(f"0x{kind.status:04X} {kind.code}", _first_line(kind)) for kind in _refusals()),
        "| 0x0110 | something that nobody had thought of; the log has it |\n",
        _CREATED,
        "\n## States\n\n| what | states |\n| --- | --- |\n",
        *(_row(name, " ".join(f"`{state}`" for state in states_of(table))) for name, table in _tables()),
        f"\n## SOP classes\n\nVerification ({VERIFICATION}) and, for storage:\n\n| UID | name |\n| --- | --- |\n",
        *_uids(storage_sop_classes()),
        "\n## Transfer syntaxes\n\nEach of these for every storage SOP class:\n\n| UID | name |\n| --- | --- |\n",
        *_uids(transfer_syntaxes()),
    ]
    return "".join(parts)


def _refusals() -> Sequence[type[errors.RefusedByUs]]:
    return sorted(errors.RefusedByUs.__subclasses__(), key=lambda kind: kind.status)


def _tables() -> Iterable[tuple[str, Transitions]]:
    return (("study", STUDY), ("job, parcel", WORK), ("delivery", DELIVERY))


def _uids(uids: Iterable[str]) -> Iterable[str]:
    return (_row(uid, UID(uid).name) for uid in uids)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0].rstrip(".")
