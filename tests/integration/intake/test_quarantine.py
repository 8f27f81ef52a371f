"""Late, re-sent, moved, conflicting and foreign instances: what the sender hears, and what becomes of the study."""

import pytest

from node.ledger import quarantine
from tests.integration.intake.assembly import Assembly, chest


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def foreign(datasets, count=1):
    """The last of them as if they were another patient's."""
    for dataset in datasets[-count:]:
        dataset.PatientID = "ANOTHER"
    return datasets[:-count], datasets[-count:]


def set_aside(assembly, datasets):
    return assembly.ledger.write(lambda tx: quarantine.set_aside(tx, str(datasets[0].StudyInstanceUID), "who"))


def test_a_study_with_an_instance_of_another_patient_is_not_processed_until_an_operator_says_so(assembly):
    own, other = foreign(chest(31))
    assert assembly.receive(own + other) == [0] * 31, "its bytes are durable"
    assert assembly.complete() == 1
    assert assembly.rows("work") == []
    (row,) = assembly.events("study.not_applicable")
    assert (row.code, row.detail["pipeline"]) == ("IDENTITY_CONFLICT.mixed", "ct_lungs")
    assert [(study["state"], study["instances"]) for study in assembly.rows("study")] == [("processed", 30)]
    assert set_aside(assembly, own) == 1
    assert assembly.complete() == 1
    (job,) = assembly.rows("work")
    assert (job["revision"], job["series_instance_uids"]) == (2, [own[0].SeriesInstanceUID])
    assert assembly.rows("study")[-1]["evidence"]["instances"] == 30


def test_what_was_processed_before_is_not_run_again(assembly):
    own, other = foreign(chest(31))
    assembly.receive(own)
    assembly.complete()
    assembly.end()
    assembly.receive(other)
    assert assembly.complete() == 0, "it opens nothing"
    set_aside(assembly, own)
    assert assembly.complete() == 1
    assert len(assembly.rows("work")) == 1
    assert assembly.names("job.unchanged") == ["job.unchanged"]


def test_a_late_instance_of_the_right_patient_does_not_get_the_study_processed_either(tmp_path, sqlite):
    with Assembly(tmp_path, sqlite) as assembly:
        own, other = foreign(chest(32))
        assembly.receive(own[:-1] + other)
        assembly.complete()
        assembly.receive(own[-1:])
        assert assembly.complete() == 1
        assert assembly.rows("work") == []
        assert [row.revision for row in assembly.events("study.not_applicable")] == [1, 2]


def test_an_operator_has_it_processed_where_late_instances_are_only_recorded(tmp_path, sqlite):
    with Assembly(tmp_path, sqlite, reprocess=False) as assembly:
        own, other = foreign(chest(31))
        assembly.receive(own + other)
        assembly.complete()
        set_aside(assembly, own)
        assert assembly.complete() == 1
        assert len(assembly.rows("work")) == 1


def test_what_comes_of_another_patient_at_the_moment_of_the_verdict_stops_it(assembly):
    own, other = foreign(chest(31))
    assembly.receive(own)
    assembly.age()
    route = assembly.assembler._route

    class Racing:
        """Between the routing and the commit one more comes."""

        def __call__(self, *given):
            found = route(*given)
            assembly.receive(other)
            return found

    assembly.assembler._route = Racing()
    assert assembly.assembler.sweep() == 1
    assert assembly.rows("work") == []
    assert [row.code for row in assembly.events("study.not_applicable")] == ["IDENTITY_CONFLICT.mixed"]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_instance_that_was_moved_elsewhere_is_refused_and_kept_as_evidence(tmp_path, sqlite, keyword):
    with Assembly(tmp_path, sqlite) as assembly:
        datasets = chest(3)
        assembly.receive(datasets)
        setattr(datasets[0], keyword, "2.25.1234")
        assert assembly.receive(datasets[:1], "A2") == [0xC001]
        assert len(assembly.events("instance.conflict")) == 1
        assert [study["instances"] for study in assembly.rows("study")] == [3]


def test_an_instance_that_comes_again_is_counted_even_from_quarantine(tmp_path, sqlite):
    with Assembly(tmp_path, sqlite) as assembly:
        own, other = foreign(chest(4))
        assembly.receive(own + other)
        assert assembly.receive(own + other, "A2") == [0] * 4
        assert [row["duplicates"] for row in assembly.rows("instance")] == [1] * 4
        assert assembly.names("instance.quarantined") == ["instance.quarantined"]
