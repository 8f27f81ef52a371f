"""What a modality hears of its procedure steps, and what is written down: N-CREATE and N-SET for real (PS3.4 section F.7)."""

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import evt

from node.dimse.mpps import MPPS, TRANSFER_SYNTAXES
from tests.integration.dimse.modality import (
    SERIES,
    STEP,
    STUDY,
    StepStation,
    begun,
    change,
    create,
    ended,
    item,
    reason,
    series,
)
from tests.integration.dimse.station import write_file
from tests.peers import HOST, PostgreSQL, find_tool, missing

PIXELMED = Path("/usr/share/java/pixelmed.jar")
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
#: When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def station(tmp_path):
    with StepStation(tmp_path / "node") as running:
        yield running
        running.check()


@pytest.fixture
def modality(station):
    association = station.modality()
    yield association
    association.release()


def test_a_step_goes_from_its_beginning_to_its_end(station, modality):
    assert create(modality) == 0
    (row,) = station.steps()
    assert (row["sop_instance_uid"], row["study_instance_uid"], row["state"]) == (STEP, STUDY, "IN PROGRESS")
    assert (row["calling_ae"], row["station_ae"], row["modality"], row["started"]) == ("CT1", "CTROOM1", "CT", "20261120 101500")
    assert change(modality, ended()).Status == 0
    (row,) = station.steps()
    assert (row["state"], row["ended"]) == ("COMPLETED", "20261120 103000.5")
    assert row["performed"] == {SERIES: [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.3"]}
    assert row["created_at"] < row["finished_at"] == row["changed_at"]
    assert [(row.event, row.study_instance_uid, row.sop_instance_uid) for row in station.events("step")] == [
        ("step.created", STUDY, STEP),
        ("step.completed", STUDY, STEP),
    ]
    assert station.events("step.completed")[0].detail == {"series": 1, "instances": 3}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_each_transfer_syntax_is_understood(station, syntax):
    association = station.connect((MPPS, syntax), calling="CT1")
    assert create(association) == 0
    assert change(association, ended()).Status == 0
    association.release()
    assert station.steps()[0]["performed"] == {SERIES: [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.3"]}


def test_a_step_without_a_uid_is_given_one_that_is_answered(station, modality):
    answered = []
    modality.bind(evt.EVT_DIMSE_RECV, lambda event: answered.append(event.message.command_set))
    assert create(modality, None) == 0
    (row,) = station.steps()
    assert row["sop_instance_uid"].startswith("2.25.")
    assert answered[0].AffectedSOPInstanceUID == row["sop_instance_uid"]
    assert change(modality, ended(), row["sop_instance_uid"]).Status == 0


def test_a_step_of_two_studies_is_known_to_both(station, modality):
    assert create(modality, attributes=begun(STUDY, "1.2.9", STUDY)) == 0
    assert [row["study_instance_uid"] for row in station.steps()] == [STUDY, "1.2.9"]
    assert change(modality, ended()).Status == 0
    assert {row["state"] for row in station.steps()} == {"COMPLETED"}
    assert [row.study_instance_uid for row in station.events("step.completed")] == [STUDY, "1.2.9"]


MISSING = {
    "ScheduledStepAttributesSequence": [],
    "PerformedProcedureStepID": "",
    "PerformedStationAETitle": "",
    "PerformedProcedureStepStartDate": "",
    "PerformedProcedureStepStartTime": "",
    "PerformedProcedureStepStatus": "",
    "Modality": "",
}
WRONG = {
    "another state": {"PerformedProcedureStepStatus": "COMPLETED"},
    "no state": {"PerformedProcedureStepStatus": "RUNNING"},
    "no UID": {"ScheduledStepAttributesSequence": [item(StudyInstanceUID="1.02.x")]},
    "no date": {"PerformedProcedureStepStartTime": "soon"},
    "a series that is no UID": {"PerformedSeriesSequence": [series("series")]},
}


@pytest.mark.parametrize("keyword", MISSING)
def test_a_step_without_what_it_must_have_is_refused(station, modality, keyword):
    assert create(modality, attributes=begun(**{keyword: None})) == 0x0120, "missing attribute"
    assert create(modality, attributes=begun(**{keyword: MISSING[keyword]})) == 0x0121, "missing attribute value"
    assert station.steps() == []
    assert [row.code for row in station.events("step")] == ["STEP_REFUSED.missing_attribute", "STEP_REFUSED.missing_value"]
    assert station.events("step")[0].association_id
    assert create(modality) == 0, "the association goes on, and the UID is free"


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_step_that_cannot_begin_so_is_refused(station, modality, changes):
    assert create(modality, attributes=begun(**changes)) == 0x0106, "invalid attribute value"
    assert station.steps() == []
    assert [row.code for row in station.events("step")] == ["STEP_REFUSED.invalid_value"]


def test_what_we_do_not_use_may_be_absent(station, modality):
    bare = begun()
    used = {*MISSING, "ScheduledStepAttributesSequence"}
    for element in list(bare):
        if element.keyword not in used:
            del bare[element.tag]
    assert create(modality, attributes=bare) == 0
    assert change(modality, ended()).Status == 0


def test_a_step_is_created_once(station, modality):
    assert create(modality) == 0
    assert create(modality) == 0x0111, "duplicate SOP instance"
    assert create(modality, attributes=begun("1.2.9")) == 0x0111
    assert [row["study_instance_uid"] for row in station.steps()] == [STUDY]


def test_a_step_that_was_never_created_cannot_be_changed(station, modality):
    assert change(modality, ended()).Status == 0x0112, "no such SOP instance"
    assert [row.code for row in station.events("step")] == ["STEP_REFUSED.unknown"]


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("again", ["IN PROGRESS", "COMPLETED", "DISCONTINUED", None])
def test_a_step_that_has_ended_is_not_changed(station, modality, state, again):
    create(modality)
    assert change(modality, ended(state)).Status == 0
    before = station.steps()
    answer = change(modality, ended(again, series("1.2.3.4")))
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710), "PS3.4 Table F.7.2-2"
    assert answer.ErrorComment == "Performed Procedure Step Object may no longer be updated"
    assert station.steps() == before
    assert station.events("step")[-1].code == "STEP_REFUSED.final"


NOT_FINAL = {
    "no series": {"PerformedSeriesSequence": None},
    "an empty list of series": {"PerformedSeriesSequence": []},
    "no end": {"PerformedProcedureStepEndDate": None, "PerformedProcedureStepEndTime": None},
    "half an end": {"PerformedProcedureStepEndTime": None},
    "a series without a UID": {"PerformedSeriesSequence": [item(ProtocolName="Chest", ReferencedImageSequence=[])]},
    "a series without lists": {"PerformedSeriesSequence": [series(images=None, others=None)]},
    "an instance without a UID": {
        "PerformedSeriesSequence": [item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[item(ReferencedSOPClassUID=CT)])]
    },
}


@pytest.mark.parametrize("changes", NOT_FINAL.values(), ids=NOT_FINAL)
def test_a_step_is_not_completed_without_what_its_end_must_have(station, modality, changes):
    create(modality)
    assert change(modality, ended(**changes)).Status == 0x0121, "missing attribute value; N-SET has no status for a missing attribute"
    assert station.steps()[0]["state"] == "IN PROGRESS"
    assert change(modality, ended()).Status == 0, "it may be said again, in full"


@pytest.mark.parametrize("changes", NOT_FINAL.values(), ids=NOT_FINAL)
def test_a_step_is_discontinued_whatever_its_end_lacks(station, modality, changes):
    """It stops work, so that a form fault must not keep it out."""
    create(modality)
    assert change(modality, ended("DISCONTINUED", **changes)).Status == 0
    assert station.steps()[0]["state"] == "DISCONTINUED"


def test_what_was_said_before_the_end_counts_at_the_end(station, modality):
    create(modality)
    assert change(modality, item(PerformedSeriesSequence=[series("1.2.3.4", images=["1.2.3.4.1"])])).Status == 0
    later = item(PerformedSeriesSequence=[series(images=[f"{SERIES}.1"])], PerformedProcedureStepStatus="IN PROGRESS")
    assert change(modality, later).Status == 0
    last = item(PerformedProcedureStepEndDate="20261120", PerformedProcedureStepEndTime="1030", PerformedProcedureStepStatus="COMPLETED")
    assert change(modality, last).Status == 0
    assert station.steps()[0]["performed"] == {SERIES: [f"{SERIES}.1"]}, "a sequence is set as a whole"
    assert station.names("step") == ["step.created", "step.updated", "step.updated", "step.completed"]


def test_a_series_without_instances_is_taken_for_one(station, modality):
    create(modality)
    assert change(modality, ended("COMPLETED", series(images=[], others=None))).Status == 0
    assert station.steps()[0]["performed"] == {SERIES: []}


@pytest.mark.parametrize("state", ["RUNNING", "", "completed"])
def test_a_state_that_there_is_not_is_refused(station, modality, state):
    create(modality)
    assert change(modality, ended(state)).Status == 0x0106
    assert station.steps()[0]["state"] == "IN PROGRESS"


def test_a_step_stays_with_its_study(station, modality):
    create(modality)
    assert change(modality, ended(ScheduledStepAttributesSequence=[item(StudyInstanceUID="1.2.9")])).Status == 0x0106
    assert change(modality, ended(ScheduledStepAttributesSequence=[item(StudyInstanceUID=STUDY)])).Status == 0


def test_why_a_step_is_discontinued_is_kept(station, modality):
    create(modality)
    said = ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason())
    assert change(modality, said).Status == 0
    (row,) = station.steps()
    assert (row["reason_code"], row["reason"]) == ("110514 DCM", "Incorrect worklist entry selected")
    assert station.events("step.discontinued")[0].detail["reason_code"] == "110514 DCM"


def test_steps_and_instances_share_an_association(station):
    """The fast path leaves alone what is not its own, in whatever order it comes."""
    instance = dcmread(get_testdata_file("CT_small.dcm"))
    association = station.modality((CT, EXPLICIT))
    uid = str(instance.SOPInstanceUID)
    assert create(association) == 0
    assert association.send_c_store(instance).Status == 0
    assert change(association, item(PerformedSeriesSequence=[series(images=[uid])])).Status == 0
    assert association.send_c_store(instance).Status == 0
    assert create(association) == 0x0111
    assert association.send_c_store(instance).Status == 0
    assert change(association, ended("COMPLETED", series(images=[uid]))).Status == 0
    association.release()
    assert set(station.held()) == {uid}
    assert len(station.events("instance.duplicate")) == 0
    assert dcmread(station.spool.path(station.held()[uid].key)) == instance
    assert station.names("step") == ["step.created", "step.updated", "step.refused", "step.completed"]
    assert station.wait_for("association.released")[0].detail["instances"] == 3


def test_no_name_is_kept_or_logged(station, modality, capfd):
    create(modality)
    change(modality, ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason()))
    create(modality, attributes=begun(Modality="Secret^Name"))
    written = repr([station.steps(), station.events()]) + "".join(capfd.readouterr())
    assert "secret" not in written.lower()


def test_a_data_set_that_cannot_be_read_is_refused_and_the_association_goes_on(station, modality):
    broken = begun()
    broken.add_new("PerformedSeriesSequence", "LO", "no sequence")
    association = station.connect((MPPS, EXPLICIT), calling="CT1")
    assert create(association, attributes=broken) == 0x0106
    assert create(association, "1.2.826.0.1.10") == 0
    association.release()


def test_another_sop_class_in_the_request_is_refused(station, modality):
    status, _ = modality.send_n_create(begun(), MPPS[:-1] + "4", STEP, meta_uid=MPPS)
    assert status.Status == 0x0118, "no such SOP class"
    assert station.steps() == []


def test_pixelmed_hears_the_same(station, tmp_path):
    """Another vendor's association, PDUs and data sets."""
    if not PIXELMED.exists():
        missing(f"{PIXELMED} is not installed: it is in the Debian package libpixelmed-java")
    find_tool("javac")  # runs from its source, which a runtime alone cannot
    creation = write_file(tmp_path, "creation", begun(), sop_class=MPPS, instance=STEP)
    change = write_file(tmp_path, "change", ended(), sop_class=MPPS, instance=STEP)
    source = Path(__file__).with_name("MppsUser.java")
    asks = ["set", change, "create", creation, "create", creation, "set", change, "set", change]
    command = [find_tool("java"), "-cp", PIXELMED, source, HOST, str(station.port), "RADNODE", "PIXELMED", STEP, *asks]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines() == ["set 0x0112", "create 0x0000", "create 0x0111", "set 0x0000", "set 0x0110"]
    (row,) = station.steps()
    assert (row["state"], row["calling_ae"]) == ("COMPLETED", "PIXELMED")
    assert row["performed"] == {SERIES: [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.3"]}


def test_without_the_database_nothing_is_promised(tmp_path):
    """Success is answered when the fact is committed, and not before."""
    with PostgreSQL() as server, StepStation(tmp_path / "node", url=server.create_database()) as station:
        association = station.modality()
        server.stop()
        assert create(association) == 0x0213, "resource limitation: it may be sent again"
        server.start()
        assert station.steps() == []
        assert create(association) == 0
        server.stop()
        assert change(association, ended()).Status == 0x0213
        server.start()
        assert change(association, ended()).Status == 0
        association.release()
        assert station.names("step") == ["step.created", "step.completed"]


def test_what_breaks_behind_the_service_is_not_success(tmp_path, postgresql_url):
    with StepStation(tmp_path / "node", url=postgresql_url) as station:
        association = station.modality()
        with station.ledger.writing() as tx:
            tx.execute(sa.text("ALTER TABLE procedure_step RENAME TO away"))
        assert create(association) == 0x0110, "processing failure"
        with station.ledger.writing() as tx:
            tx.execute(sa.text("ALTER TABLE away RENAME TO procedure_step"))
        assert create(association) == 0
        association.release()
