"""What a quiet study is waited for, by every witness, from the first byte to the verdict in the ledger."""

import threading
from functools import partial

import pytest

from node.core.errors import PeerUnavailable
from node.core.remote import RemoteAE
from node.core.rules import ExpectedSeries, RuleBook, Rules
from node.core.study import ProcedureStep, StudyCount
from node.dimse.associate import Caller
from node.dimse.count import count_study
from node.intake.census import Census
from node.intake.pace import Pace
from pipelines.phantom import write_datasets
from tests.integration.intake.assembly import Assembly, chest
from tests.peers import HOST, wait_until

#: pynetdicom 3.0.4 leaves the socket of a call to its collector when nobody answered.
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")

RULES = Rules(pipelines=("ct_lungs",), quiet_s=0.3, patience_s=600)
ASKING = RuleBook(default=Rules(pipelines=("ct_lungs",), quiet_s=0.3, patience_s=600, ask=("pacs",)))


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def kinds(assembly):
    """The kinds of what was waited for, one list for each row that says so."""
    return [[reason["kind"] for reason in row.detail["reasons"]] for row in assembly.events("study.awaited")]


def evidence(assembly):
    return assembly.rows("study")[-1]["evidence"]


def step(state, datasets=(), uid="9.1"):
    performed = {}
    for dataset in datasets:
        performed.setdefault(str(dataset.SeriesInstanceUID), []).append(str(dataset.SOPInstanceUID))
    study = str(chest(2)[0].StudyInstanceUID)
    frozen = {series: tuple(uids) for series, uids in performed.items()}
    return ProcedureStep(sop_instance_uid=uid, state=state, calling_ae="CT", study_instance_uids=(study,), performed=frozen)


def test_a_gap_is_waited_for_and_the_missing_slice_ends_the_waiting(assembly):
    datasets = chest()
    assembly.receive(datasets[:15] + datasets[16:])
    assert [assembly.complete(60), assembly.complete(61)] == [0, 0]
    assert kinds(assembly) == [["gap"]], "said once"
    assert datasets[0].SeriesInstanceUID in assembly.events("study.awaited")[0].detail["reasons"][0]["sentence"]
    assembly.receive(datasets[15:16])
    assert assembly.complete(60) == 1
    assert (evidence(assembly)["rule"], evidence(assembly)["missing"]) == ("quiet", [])


def test_after_its_patience_a_study_with_a_gap_is_complete_and_the_gap_is_named(assembly):
    datasets = chest()
    assembly.receive(datasets[:15] + datasets[16:])
    assert assembly.complete(60) == 0
    assert assembly.complete() == 1
    assert evidence(assembly)["rule"] == "patience"
    assert [missing["kind"] for missing in evidence(assembly)["missing"]] == ["gap"]


def test_a_gap_in_what_no_pipeline_takes_is_nobodys_matter(tmp_path, sqlite):
    with Assembly(tmp_path, sqlite, enabled=()) as assembly:
        datasets = chest()
        assembly.receive(datasets[:15] + datasets[16:])
        assert assembly.complete(60) == 1


def test_an_expected_series_is_waited_for(tmp_path, sqlite):
    wish = ExpectedSeries(modality="CT", description="chest|thorax", instances=30)
    book = RuleBook(default=Rules(pipelines=(), quiet_s=0.3, patience_s=600, expected=(wish,)))
    with Assembly(tmp_path, sqlite, book=book) as assembly:
        datasets = chest()
        for dataset in datasets:
            dataset.SeriesDescription = "Thorax 1.0"
        assembly.receive(datasets[:29])
        assert assembly.complete(60) == 0
        (row,) = assembly.events("study.awaited")
        assert row.detail["reasons"][0]["sentence"].startswith(
            "0 of 1 CT series like 'chest|thorax' with at least 30 instances, the largest has 29"
        )
        assembly.receive(datasets[29:])
        assert assembly.complete(60) == 1


def test_a_title_has_its_own_pipelines_and_a_study_of_two_titles_has_both(tmp_path, database):
    book = RuleBook(default=RULES, by_title={"KEEP": Rules(pipelines=(), quiet_s=30, patience_s=600)})
    with Assembly(tmp_path, database, book=book) as assembly:
        assembly.receive(chest(study_name="kept"), called="KEEP")
        assembly.receive(chest(study_name="run"))
        both = chest(study_name="both")
        assembly.receive(both[:10], called="KEEP")
        assembly.receive(both[10:])
        assert assembly.complete(20) == 1, "the others have a longer quiet time"
        assert assembly.complete(40) == 2
        worked = {row["study_instance_uid"] for row in assembly.rows("work")}
        assert worked == {chest(2, study_name=name)[0].StudyInstanceUID for name in ("run", "both")}
        titles = {row["study_instance_uid"]: row["evidence"]["called_ae"] for row in assembly.rows("study")}
        assert titles[both[0].StudyInstanceUID] == ["KEEP", "RADNODE"]


def test_when_the_modality_has_ended_and_all_is_here_no_quiet_time_is_waited_for(tmp_path, database):
    steps, datasets = [], chest()
    with Assembly(tmp_path, database, quiet_s=3600, settle_s=0.0, steps_of=lambda _tx, _uid: steps) as assembly:
        assembly.receive(datasets[:20])
        steps[:] = [step("IN PROGRESS")]
        assert assembly.assembler.sweep() == 0
        steps[:] = [step("COMPLETED", datasets)]
        assert assembly.assembler.sweep() == 0
        assembly.presence.enter("A1")
        assembly.receive(datasets[20:])
        assert assembly.assembler.sweep() == 0, "an association is open"
        assembly.presence.leave("A1")
        assembly.age(0.01)  # the clock of SQLite counts milliseconds, and a sweep may have held the study open in this very one
        assert assembly.assembler.sweep() == 1
        assert (evidence(assembly)["rule"], evidence(assembly)["stated"], evidence(assembly)["quiet_s"]) == ("steps", 30, 0)
        assert kinds(assembly) == [], "before the quiet time is over there is nothing to say"


def test_what_the_modality_says_is_waited_for(tmp_path, sqlite):
    steps, datasets = [step("IN PROGRESS")], chest()
    with Assembly(tmp_path, sqlite, steps_of=lambda _tx, _uid: steps) as assembly:
        assembly.receive(datasets[:-2])
        assert assembly.complete(60) == 0
        steps[:] = [step("COMPLETED", datasets)]
        assert [assembly.complete(60), assembly.complete(70)] == [0, 0]
        assert kinds(assembly) == [["step"], ["step"]], "each reason once"
        assert assembly.complete() == 1
        assert evidence(assembly)["missing"][0]["sentence"].startswith("2 of 30 instances")


def test_of_a_discontinued_procedure_nothing_is_made_unless_an_operator_says_so(tmp_path, database):
    steps = [step("DISCONTINUED")]
    with Assembly(tmp_path, database, steps_of=lambda _tx, _uid: steps) as assembly:
        datasets = chest()
        assembly.receive(datasets)
        assert assembly.complete(60) == 1
        assert assembly.rows("work") == []
        (row,) = assembly.events("study.not_applicable")
        assert (row.code, row.detail["pipeline"]) == ("DISCONTINUED.by_modality", "ct_lungs")
        assert assembly.rows("study")[0]["state"] == "processed"
        assembly.receive(chest(3, seed=1))
        assert assembly.assembler.force(str(datasets[0].StudyInstanceUID), "who")
        assert [job["revision"] for job in assembly.rows("work")] == [2]


def test_an_operator_overrules_whatever_is_waited_for(assembly):
    datasets = chest()
    assembly.receive(datasets[:15] + datasets[16:])
    assert assembly.complete(60) == 0
    assert assembly.assembler.force(str(datasets[0].StudyInstanceUID), "who")
    assert evidence(assembly)["rule"] == "operator who"


def test_a_slow_peer_holds_up_no_other_study_and_is_named_in_the_end(tmp_path, sqlite):
    answering = threading.Event()

    def ask(peer, study_instance_uid):
        assert answering.wait(30)
        return StudyCount(instances=30, series=1)

    book = RuleBook(default=RULES, by_title={"ASKS": ASKING.default})
    with Assembly(tmp_path, sqlite, book=book, census=Census(ask)) as assembly:
        assembly.receive(chest(study_name="slow"), called="ASKS")
        assembly.receive(chest(study_name="other"))
        assert assembly.complete(60) == 1
        assert assembly.complete(61) == 0
        assert kinds(assembly) == [], "that it is being asked is no reason to write home about"
        assert assembly.complete() == 1, "at the end of the patience it is complete, answer or none"
        answering.set()
        slow = next(row["evidence"] for row in assembly.rows("study") if row["evidence"]["rule"] == "patience")
        assert (slow["asked"][0]["is_pending"], slow["missing"][0]["kind"]) == (True, "asking")


def test_a_peer_that_cannot_be_asked_is_asked_again_at_each_quiet_interval(tmp_path, sqlite):
    asked = []

    def ask(peer, study_instance_uid):
        asked.append(study_instance_uid)
        if len(asked) == 1:
            raise PeerUnavailable("pacs cannot be reached.", reason="no_connection")
        return StudyCount(instances=30, series=1)

    with Assembly(tmp_path, sqlite, book=ASKING, census=Census(ask)) as assembly:
        assembly.receive(chest())
        assembly.age(60)
        wait_until(lambda: assembly.assembler.sweep() or kinds(assembly), seconds=10, sentence="nothing is said of the peer")
        assert kinds(assembly) == [["unanswered"]]
        wait_until(assembly.assembler.sweep, seconds=10, sentence="it was not asked again")
        assert len(asked) >= 2
        assert evidence(assembly)["rule"] == "quiet"


def test_a_real_pacs_that_holds_more_is_waited_for_and_its_count_reached(tmp_path, sqlite, orthanc):
    """The study is in Orthanc already; a part of it has come to us, then the rest, then we have sent a result of ours there."""
    datasets = chest()
    orthanc.upload(write_datasets(datasets, tmp_path))
    remote = RemoteAE(name="pacs", ae_title=orthanc.ae_title, host=HOST, port=orthanc.port)
    caller = Caller(ae_title="RADNODE", connect_s=5, answer_s=10)
    census = Census(lambda _peer, uid: partial(count_study, caller, remote)(uid))
    with Assembly(tmp_path, sqlite, book=ASKING, census=census) as assembly:
        assembly.receive(datasets[:20])
        assembly.age(60)
        wait_until(lambda: assembly.assembler.sweep() or kinds(assembly), seconds=15, sentence="the PACS did not say that it holds more")
        assert assembly.events("study.awaited")[0].detail["reasons"][0]["sentence"] == "pacs reports 30 instances, 20 are held."
        assembly.receive(datasets[20:])
        assembly.age(60)
        wait_until(assembly.assembler.sweep, seconds=15, sentence="the count was reached, but the study is not complete")
        assert evidence(assembly)["asked"][0]["count"] == {"instances": 30, "series": 1}


def test_a_pacs_that_is_frozen_is_recorded_and_does_not_stop_the_sweep(tmp_path, sqlite, orthanc):
    remote = RemoteAE(name="pacs", ae_title=orthanc.ae_title, host=HOST, port=orthanc.port)
    caller = Caller(ae_title="RADNODE", connect_s=0.5, answer_s=0.5)
    calling = threading.Lock()

    def ask(peer, study_instance_uid):
        with calling:
            return count_study(caller, remote, study_instance_uid)

    census = Census(ask)
    orthanc.pause()
    with Assembly(tmp_path, sqlite, book=ASKING, census=census) as assembly:
        assembly.receive(chest())
        assembly.age(60)
        wait_until(lambda: assembly.assembler.sweep() or kinds(assembly), seconds=15, sentence="nothing is said of the PACS")
        assert kinds(assembly) == [["unanswered"]]
        assert assembly.complete() == 1
        assert "pacs" in evidence(assembly)["missing"][0]["sentence"]
    census.forget_but(())
    with calling:
        orthanc.resume()


def test_the_quiet_time_of_a_sender_is_learned_and_the_evidence_says_so(tmp_path, database):
    with Assembly(tmp_path, database, quiet_s=30, pace=Pace(10, 300)) as assembly:
        for number in range(5):
            datasets = chest(3, study_name=f"study {number}")
            assembly.receive(datasets[:1])
            assembly.age(20)
            assembly.receive(datasets[1:])
            assert assembly.complete(31) == 1
            assert evidence(assembly)["quiet_why"] == "configured"
        assembly.assembler._observer._pace = Pace(10, 300)  # what it knows is kept for a minute
        datasets = chest(3, study_name="another")
        assembly.receive(datasets)
        assert assembly.complete(55) == 0, "three times twenty seconds"
        assert assembly.complete(65) == 1
        found = next(row["evidence"] for row in assembly.rows("study") if row["study_instance_uid"] == datasets[0].StudyInstanceUID)
        assert 60 <= found["quiet_s"] < 65
        assert found["quiet_why"].startswith("learned from the last 5 of CT, longest pause 20.")
        assembly.receive(chest(3, study_name="of another sender"), calling="MR")
        assert assembly.complete(31) == 1
