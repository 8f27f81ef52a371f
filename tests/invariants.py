"""What must be true of every node, whatever was done to it: checked at the end of every end-to-end and fault test."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from node.core.states import DELIVERED, DELIVERY, STUDY, WORK
from node.ledger import audit, spooled
from node.spool.local import LocalSpool
from tests.nodes import Node

IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")

#: The state that an audit event leaves its work in.
WORK_AFTER = {"queued": "queued", "claimed": "running", "finished": "done", "refused": "refused", "failed": "failed", "retried": "queued"}
WORK_AFTER |= {"rescued": "queued", "replayed": "queued", "put_off": "queued", "cancelled": "refused"}
DELIVERY_AFTER = {"owed": "waiting", "started": "sending", "sent": "sent", "refused": "refused", "postponed": "waiting"}
DELIVERY_AFTER |= {
    "replayed": "waiting",
    "committed": "committed",
    "found": "found",
    "lost": "waiting",
    "unconfirmed": "sent",
    "withheld": "shadow",
}
STEP_AFTER = {"created": "IN PROGRESS", "updated": "IN PROGRESS", "completed": "COMPLETED", "discontinued": "DISCONTINUED"}

CIRCUIT_AFTER = {"opened": "open", "probed": "probing", "closed": "closed"}
PLEDGE_AFTER = {"begun": "asking", "asked": "asked", "expired": "expired", "reported": "reported"}
COMMITMENT_AFTER = {"requested": "waiting", "repeated": "waiting", "reported": "reported", "failed": "failed"}


class Archived:
    """The results that a destination holds, read from the files that it was sent."""

    def __init__(self, contents: Iterable[bytes]) -> None:
        self.datasets = [dcmread(BytesIO(content)) for content in contents]

    @classmethod
    def in_files(cls, paths: Iterable[Path]) -> "Archived":
        return cls(path.read_bytes() for path in paths)

    def of(self, modality: str) -> list[Dataset]:
        return [dataset for dataset in self.datasets if dataset.Modality == modality]


def check(node: Node, acknowledged: Collection[str], archives: dict[str, Archived], *, names: Collection[str] = ("Phantom",)) -> None:
    """Hold a node that is at rest against all eight invariants.

    Parameters
    ----------
    acknowledged : collection of str
        The SOP Instance UIDs that a sender was told Success for.
    archives : dict
        What each destination holds of our results, by the destination's name.
    names : collection of str
        Parts of the patients' names that were sent.
    """
    i1_every_acknowledged_instance_is_on_disk(node, acknowledged)
    i2_one_job_for_each_input(node)
    i3_each_output_is_at_its_destination_once(node, archives)
    i4_identity_equals_the_source(node, archives)
    i5_every_state_is_explained_by_the_audit_log(node)
    i6_nothing_is_in_limbo(node)
    i7_no_orphan_files(node)
    i8_no_name_in_any_log(node, names)


def i1_every_acknowledged_instance_is_on_disk(node: Node, acknowledged: Collection[str]) -> None:
    rows = {row["sop_instance_uid"]: row for row in node.rows("instance")}
    missing = set(acknowledged) - set(rows)
    assert not missing, f"answered Success, but not in the ledger: {sorted(missing)[:3]}"
    for row in rows.values():
        content = (node.config.node.data / "spool" / row["key"]).read_bytes()
        sent = content[len(content) - row["size"] :]
        assert hashlib.sha256(sent).hexdigest() == row["sha256"], f"{row['key']} is not what was accepted"


def i2_one_job_for_each_input(node: Node) -> None:
    jobs = [row for row in node.rows("work") if row["kind"] == "infer"]
    inputs = Counter(
        (
            row["study_instance_uid"],
            row["revision"],
            str(row["series_instance_uids"]),
            str(row["stacks"]),
            row["pipeline"],
            row["model_digest"],
        )
        for row in jobs
    )
    assert not {key for key, count in inputs.items() if count > 1}


def i3_each_output_is_at_its_destination_once(node: Node, archives: dict[str, Archived]) -> None:
    owed = node.rows("delivery")
    for name, archive in archives.items():
        held = Counter(str(dataset.SOPInstanceUID) for dataset in archive.datasets)
        sent = {row["sop_instance_uid"] for row in owed if row["destination"] == name and row["state"] in DELIVERED}
        assert all(count == 1 for count in held.values()), "an object is at the destination twice"
        assert set(held) == sent, f"{name} holds {sorted(held)}, the ledger says {sorted(sent)}"


def i4_identity_equals_the_source(node: Node, archives: dict[str, Archived]) -> None:
    sources: dict[str, Dataset] = {}
    for row in node.rows("instance"):
        if row["quarantined"]:
            continue  # of another patient: nothing may be made of it
        path = node.config.node.data / "spool" / row["key"]
        sources.setdefault(row["study_instance_uid"], dcmread(path, stop_before_pixels=True))
    for archive in archives.values():
        for dataset in archive.datasets:
            source = sources[str(dataset.StudyInstanceUID)]
            for keyword in IDENTITY:
                assert (dataset.get(keyword) or None) == (source.get(keyword) or None), f"{keyword} differs from the source"


def i5_every_state_is_explained_by_the_audit_log(node: Node) -> None:
    with node.ledger() as ledger, ledger.reading() as tx:
        assert not list(audit.broken_rows(tx)), "the audit log's chain is broken"
    events = node.events()
    studies: dict[tuple[str | None, int | None], str] = {}
    works: dict[str, str] = {}
    deliveries: dict[tuple[str | None, str | None], str] = {}
    steps: dict[tuple[str | None, str | None], str] = {}
    commitments: dict[str, str] = {}
    pledges: dict[str, str] = {}
    circuits: dict[str | None, str] = {}
    for row in events:
        noun, verb = row.event.split(".")
        if noun == "study":
            key = (row.study_instance_uid, row.revision)
            after = {"opened": "open", "reopened": "open", "completed": "complete", "processed": "processed", "taken_up_again": "complete"}
            studies[key] = after.get(verb, studies.get(key, ""))
        elif noun in ("job", "parcel") and row.work_id and verb in WORK_AFTER:
            works[row.work_id] = WORK_AFTER[verb]
        elif noun == "delivery":
            deliveries[row.sop_instance_uid, row.destination] = DELIVERY_AFTER[verb]
            works.setdefault(str(row.work_id), "queued")
        elif noun == "step" and verb in STEP_AFTER:
            steps[row.sop_instance_uid, row.study_instance_uid] = STEP_AFTER[verb]
        elif noun == "commitment" and verb in COMMITMENT_AFTER:
            commitments[str(row.work_id)] = COMMITMENT_AFTER[verb]
        elif noun == "circuit":
            circuits[row.destination] = CIRCUIT_AFTER[verb]
        elif noun == "pledge":
            pledges[row.detail["transaction_uid"]] = PLEDGE_AFTER[verb]
    assert {(row["study_instance_uid"], row["revision"]): row["state"] for row in node.rows("study")} == studies
    assert {row["id"]: row["state"] for row in node.rows("work")} == works
    assert {(row["sop_instance_uid"], row["destination"]): row["state"] for row in node.rows("delivery")} == deliveries
    assert {(row["sop_instance_uid"], row["study_instance_uid"]): row["state"] for row in node.rows("procedure_step")} == steps
    assert {row["id"]: row["state"] for row in node.rows("commitment")} == commitments
    assert {row["transaction_uid"]: row["state"] for row in node.rows("pledge")} == pledges
    assert {row["destination"]: row["state"] for row in node.rows("circuit")} == {
        row["destination"]: "closed" for row in node.rows("circuit")
    } | circuits
    received = Counter(row.sop_instance_uid for row in events if row.event == "instance.received")
    assert received == Counter(row["sop_instance_uid"] for row in node.rows("instance"))
    assert set(studies.values()) <= set(STUDY.values())
    assert set(works.values()) <= set(WORK.values())
    assert set(deliveries.values()) <= set(DELIVERY.values())


def i6_nothing_is_in_limbo(node: Node) -> None:
    assert {row["state"] for row in node.rows("study")} <= {"processed"}
    assert {row["state"] for row in node.rows("work")} <= {"done", "refused", "failed"}
    assert {row["state"] for row in node.rows("delivery")} <= {*DELIVERED, "refused", "shadow"}


def i7_no_orphan_files(node: Node) -> None:
    """Every file is known to the ledger; what a killed process left in ``incoming`` is cleared when the next one starts."""
    for owner in ("listen", "work", "web"):
        with node.ledger() as ledger, ledger.reading() as tx, LocalSpool(node.config.node.data / "spool", owner) as spool:
            spool.recover(functools.partial(spooled.is_known, tx))
            assert set(spool.list()) == spooled.known_keys(tx)


def i8_no_name_in_any_log(node: Node, names: Collection[str]) -> None:
    written = node.logs() + json.dumps([row.detail for row in node.events()], default=str)
    assert not [name for name in names if name.lower() in written.lower()]
