"""A job's identifiers say what it is about, and nothing else."""

import dataclasses
from datetime import UTC, datetime

import pytest

from node.core.job import Job, Priority, Ticket, Work, noun_of
from node.core.uids import is_valid_uid

JOB = Job(
    node_ae="RADNODE",
    study_instance_uid="1.2.3",
    revision=1,
    series_instance_uids=("1.2.3.1", "1.2.3.2"),
    pipeline="ct_lungs",
    model_digest="a" * 64,
    input_sha256="b" * 64,
    queued_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
)
OTHER = {
    "node_ae": "RADNODE2",
    "study_instance_uid": "1.2.4",
    "revision": 2,
    "series_instance_uids": ("1.2.3.2", "1.2.3.1"),
    "stacks": ("EchoTime=12", ""),
    "pipeline": "ct_liver",
    "model_digest": "c" * 64,
}
NO_MATTER = {"input_sha256": "d" * 64, "queued_at": datetime(2030, 1, 1, tzinfo=UTC)}


def identifiers(job):
    return job.id, job.derive_uid("SEG"), job.derive_uid("SEG", "series"), job.derive_uid("SR")


def test_every_field_of_a_job_is_either_part_of_its_key_or_is_not():
    assert OTHER.keys() | NO_MATTER.keys() == {field.name for field in dataclasses.fields(Job)}


@pytest.mark.parametrize("field", OTHER)
def test_each_part_of_the_key_makes_another_job(field):
    other = dataclasses.replace(JOB, **{field: OTHER[field]})
    assert not set(identifiers(JOB)) & set(identifiers(other))


@pytest.mark.parametrize("field", NO_MATTER)
def test_nothing_else_does(field):
    assert identifiers(dataclasses.replace(JOB, **{field: NO_MATTER[field]})) == identifiers(JOB)


def test_the_order_and_the_number_of_the_input_series_matter():
    jobs = [dataclasses.replace(JOB, series_instance_uids=uids) for uids in [("1", "2"), ("2", "1"), ("1",), ("12",), ("1", "2", "2")]]
    assert len({job.id for job in jobs}) == len(jobs)


def test_stacks_of_one_series_are_jobs_of_their_own_and_a_single_one_is_as_before():
    stacks = [(), ("EchoTime=12", ""), ("", "EchoTime=12"), ("EchoTime=24", "")]
    assert len({dataclasses.replace(JOB, stacks=some).id for some in stacks}) == len(stacks)
    assert dataclasses.replace(JOB, stacks=("", "")).id == JOB.id
    # drawn when jobs knew no stacks: what was made then must never be made again under another name
    assert JOB.id == "a0fc357c-92fa-5c01-ba5b-73001c96ffbc"


def test_what_a_job_makes_has_identifiers_of_its_own():
    made = [
        JOB.derive_uid(*kind)
        for kind in [("SEG",), ("SR",), ("SEG", "series"), ("SEGseries",), ("SEG", "1"), ("SEG", "11"), ("SEG", "1", "1")]
    ]
    assert len(set(made)) == len(made)
    assert all(map(is_valid_uid, made))


def test_the_identifiers_of_a_job_are_the_same_in_every_release():
    assert JOB.id == "a0fc357c-92fa-5c01-ba5b-73001c96ffbc"
    assert JOB.derive_uid("SEG") == "2.25.75221767947643404483195309747818850351"


def test_a_job_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        JOB.revision = 2


def test_the_same_hand_over_has_the_same_key_at_the_engine():
    ticket = Ticket(work_id="w", kind="infer", dispatch=3, priority=100)
    later = dataclasses.replace(ticket, delay_s=5.0, priority=1)
    assert ticket.workflow_id == later.workflow_id == "w:3"
    assert dataclasses.replace(ticket, dispatch=4).workflow_id != ticket.workflow_id


def test_work_is_called_a_job_or_a_parcel():
    counts = {"priority": 100, "attempt": 1, "dispatch": 1, "crashes": 0}
    work = Work(id=JOB.id, kind="infer", job_id=JOB.id, job=JOB, destination=None, **counts)
    assert work.noun == noun_of("infer") == "job"
    assert dataclasses.replace(work, kind="deliver", destination="pacs").noun == "parcel"


def test_stat_comes_first_and_nothing_has_the_number_that_means_not_set():
    assert sorted(Priority) == [Priority.STAT, Priority.URGENT, Priority.ROUTINE, Priority.BACKGROUND]
    assert min(Priority) > 0
