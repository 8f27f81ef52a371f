"""C-FIND at every level of both models, asked by DCMTK."""

import pytest
from pydicom import Dataset

from tests.integration.query.archive import CT, MR, make_instance

# Odd questions make pydicom warn; in the product those warnings are off (node/logs.py), because they quote values.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
DOE = {"StudyInstanceUID": "1.2.2", "PatientID": "B2", "PatientName": "DOE^JANE", "StudyDate": "20240229", "SeriesNumber": "2"}
FIRST = {**DOE, "SeriesInstanceUID": "1.2.2.1", "Modality": "CT", "SOPClassUID": CT, "Rows": 16}
SECOND = {**DOE, "SeriesInstanceUID": "1.2.2.2", "Modality": "MR", "SOPClassUID": MR, "SeriesDescription": "T1 axial"}
GERMAN = {"PatientID": "A1", "PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100", "StudyDescription": "Thorax [nativ]"}
JAPANESE = {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "SpecificCharacterSet": "ISO_IR 192", "PatientID": "J3"}


@pytest.fixture(scope="module")
def held(archive, tmp_path_factory):
    """Four studies of held patients; the second has two series, of two modalities."""
    folder = tmp_path_factory.mktemp("made")
    archive.hold(
        make_instance(folder, StudyInstanceUID="1.2.1", AccessionNumber="X7", **GERMAN),
        make_instance(folder, SOPInstanceUID="1.2.2.1.1", InstanceNumber="1", **FIRST),
        make_instance(folder, SOPInstanceUID="1.2.2.1.2", InstanceNumber="2", **FIRST),
        make_instance(folder, SOPInstanceUID="1.2.2.2.1", **SECOND),
        make_instance(
            folder, StudyInstanceUID="1.2.3", PatientID="B2", PatientName="Doe^Jane^^^", StudyDate="20250601", StudyTime="235959.5"
        ),
        make_instance(folder, StudyInstanceUID="1.2.4", StudyDate="19990101", StudyTime="", **JAPANESE),
    )
    return archive


def studies(asking):
    assert asking.status == 0, asking.log[-3000:]
    return sorted(str(found.StudyInstanceUID) for found in asking.found)


ALL = ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]
STUDY = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("PatientName=*", ALL),
        ("PatientName", ALL),
        ("PatientName=doe^jane", ["1.2.2", "1.2.3"]),
        ("PatientName=D?E^*", ["1.2.2", "1.2.3"]),
        ("PatientName=doe", []),
        ("PatientID=B2", ["1.2.2", "1.2.3"]),
        ("PatientID=b2", []),
        ("PatientName=Yamada^*", ["1.2.4"]),
        ("PatientID=?1", ["1.2.1"]),
        ("PatientID=B2\\A1", ["1.2.1", "1.2.2", "1.2.3"]),
        ("StudyDate=20240229", ["1.2.2"]),
        ("StudyDate=20240201-20241231", ["1.2.2"]),
        ("StudyDate=20240229-", ["1.2.2", "1.2.3"]),
        ("StudyDate=-20240229", ["1.2.1", "1.2.2", "1.2.4"]),
        ("StudyTime=1015", ["1.2.1", "1.2.2"]),
        ("StudyTime=2300-235959.5", ["1.2.3"]),
        ("StudyInstanceUID=1.2.1\\1.2.3\\1.2.9", ["1.2.1", "1.2.3"]),
        ("AccessionNumber=X7", ["1.2.1"]),
        ("StudyDescription=Thorax [*", ["1.2.1"]),
        ("ModalitiesInStudy=MR", ["1.2.2"]),
        ("ModalitiesInStudy=MR\\OT", ALL),
        (f"SOPClassesInStudy={CT}", ["1.2.2"]),
        ("NumberOfStudyRelatedInstances=3", ["1.2.2"]),
    ],
)
def test_studies_are_found_by(held, key, expected):
    assert studies(held.find(*STUDY, key)) == expected


def test_several_keys_must_all_match(held):
    assert studies(held.find(*STUDY, "PatientID=B2", "StudyDate=2025*", "StudyDate=20250101-")) == ["1.2.3"]
    assert studies(held.find(*STUDY, "PatientID=B2", "ModalitiesInStudy=OT", "PatientName=DOE*")) == ["1.2.3"]


def test_a_study_is_described_by_what_is_held_of_it(held):
    asked = (
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "PatientName",
        "StudyID",
    )
    asking = held.find("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.2", *asked)
    (found,) = asking.found
    assert asking.statuses == [0xFF00, 0x0000]
    assert (found.ModalitiesInStudy, found.SOPClassesInStudy) == (["CT", "MR"], [CT, MR])
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (2, 3)
    assert (found.PatientName, found.StudyID) == ("DOE^JANE", "")
    assert (found.QueryRetrieveLevel, found.RetrieveAETitle, found.InstanceAvailability) == ("STUDY", "RADNODE", "ONLINE")
    assert "SpecificCharacterSet" not in found


def test_series_and_instances_are_found_in_their_study(held):
    series = held.find(
        "QueryRetrieveLevel=SERIES",
        "StudyInstanceUID=1.2.2",
        "SeriesInstanceUID",
        "Modality",
        "SeriesDescription",
        "NumberOfSeriesRelatedInstances",
    )
    assert [(one.Modality, one.SeriesDescription, one.NumberOfSeriesRelatedInstances) for one in series.found] == [
        ("CT", "", 2),
        ("MR", "T1 axial", 1),
    ]
    only = held.find("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2.2", "SeriesInstanceUID", "Modality=MR")
    assert [one.SeriesInstanceUID for one in only.found] == ["1.2.2.2"]
    within = ("StudyInstanceUID=1.2.2", "SeriesInstanceUID=1.2.2.1")
    images = held.find("QueryRetrieveLevel=IMAGE", *within, "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "NumberOfFrames")
    assert [(one.SOPInstanceUID, one.SOPClassUID, one.InstanceNumber, one.Rows, one.NumberOfFrames) for one in images.found] == [
        ("1.2.2.1.1", CT, 1, 16, None),
        ("1.2.2.1.2", CT, 2, 16, None),
    ]
    second = held.find("QueryRetrieveLevel=IMAGE", *within, "SOPInstanceUID", "InstanceNumber=2")
    assert [one.SOPInstanceUID for one in second.found] == ["1.2.2.1.2"]


def test_patients_are_found_in_the_patient_root(held):
    counts = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")
    asking = held.find("QueryRetrieveLevel=PATIENT", "PatientID=B*", "PatientName", *counts, root="-P")
    (found,) = asking.found
    assert (found.PatientID, [found[name].value for name in counts]) == ("B2", [2, 3, 4])
    assert len(held.find("QueryRetrieveLevel=PATIENT", "PatientID", root="-P").found) == 3
    assert studies(held.find(*STUDY, "PatientID=B2", root="-P")) == ["1.2.2", "1.2.3"]
    series = held.find("QueryRetrieveLevel=SERIES", "PatientID=B2", "StudyInstanceUID=1.2.2", "SeriesInstanceUID", root="-P")
    assert [one.SeriesInstanceUID for one in series.found] == ["1.2.2.1", "1.2.2.2"]
    other = held.find("QueryRetrieveLevel=SERIES", "PatientID=A1", "StudyInstanceUID=1.2.2", "SeriesInstanceUID", root="-P")
    assert (other.found, other.status) == ([], 0)


@pytest.mark.parametrize(
    ("root", "keys"),
    [
        ("-S", ["StudyInstanceUID"]),
        ("-S", ["QueryRetrieveLevel=PATIENT", "PatientID"]),
        ("-S", ["QueryRetrieveLevel=ROOM", "PatientID"]),
        ("-S", ["QueryRetrieveLevel=SERIES", "SeriesInstanceUID"]),
        ("-S", ["QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2.2", "SOPInstanceUID"]),
        ("-S", ["QueryRetrieveLevel=SERIES", "StudyInstanceUID=*"]),
        ("-P", ["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.2"]),
        ("-P", ["QueryRetrieveLevel=STUDY", "PatientID=B*"]),
    ],
)
def test_an_identifier_that_fits_no_level_is_told_so(held, root, keys):
    asking = held.find(*keys, root=root)
    assert (asking.statuses, asking.found) == ([0xA900], [])
    assert "Error Comment" in asking.log or "must" in asking.log
    assert held.events("query.refused")[-1].code == "IDENTIFIER_MISMATCH"


def test_what_is_not_supported_comes_back_empty_with_a_warning(held):
    asking = held.find(
        *STUDY, "PatientID=B2", "PatientSpeciesDescription=cat", "SeriesDescription=T1*", "ProcedureCodeSequence[0].CodeValue=X"
    )
    assert asking.statuses == [0xFF01, 0xFF01, 0x0000]
    for found in asking.found:
        assert not found.SeriesDescription
        assert not found.ProcedureCodeSequence


@pytest.mark.parametrize(
    ("character_set", "name", "study"),
    [
        ("ISO_IR 100", "MÜLLER*".encode("latin-1"), "1.2.1"),
        ("ISO_IR 192", "müller*".encode(), "1.2.1"),
        ("ISO_IR 192", "山田^*".encode(), "1.2.4"),
    ],
)
def test_names_are_compared_whatever_they_are_encoded_in(held, character_set, name, study):
    (found,) = ask(held, character_set, name)
    assert found.StudyInstanceUID == study
    assert found.SpecificCharacterSet == character_set
    assert str(found.PatientName) == {"1.2.1": "Müller^Jörg", "1.2.4": JAPANESE["PatientName"]}[study]


def test_what_the_question_cannot_express_is_answered_in_utf_8(held):
    (found,) = ask(held, "ISO_IR 100", b"Yamada*")
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", JAPANESE["PatientName"])


def ask(archive, character_set, name):
    """Ask by pynetdicom, with a name in bytes of the test's own."""
    association = archive.connect((FIND, "1.2.840.10008.1.2.1"))
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID, question.SpecificCharacterSet = "STUDY", "", character_set
    question.PatientName = name.decode({"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}[character_set])
    answers = [identifier for _, identifier in association.send_c_find(question, FIND) if identifier is not None]
    association.release()
    return answers


def test_what_was_asked_is_written_down_without_values(held):
    held.find(*STUDY, "PatientName=DOE*", "StudyInstanceUID=1.2.2")
    row = held.events("query.answered")[-1]
    assert (row.study_instance_uid, row.detail["matches"], row.detail["how"]) == ("1.2.2", 1, "complete")
    assert (row.detail["level"], row.detail["service"], row.detail["keys"]) == ("STUDY", "C-FIND", ["PatientName", "StudyInstanceUID"])
    assert "DOE" not in str([event.detail for event in held.events()])


def test_a_question_with_too_many_matches_is_cut_off(archive_of, tmp_path):
    with archive_of("few", query={"most_matches": 2}) as few:
        few.hold(*(make_instance(tmp_path, StudyInstanceUID=f"1.2.{number}") for number in range(1, 4)))
        asking = few.find(*STUDY)
        assert (asking.statuses, len(asking.found)) == ([0xFF00, 0xFF00, 0xA700], 2)
        assert few.events("query.answered")[-1].detail["how"] == "too many matches"
        assert few.find(*STUDY, "StudyInstanceUID=1.2.1\\1.2.2").status == 0


def test_only_listed_peers_may_ask(archive_of, tmp_path):
    with archive_of("closed", query={"calling_ae": ["VIEWER"]}) as closed:
        closed.hold(make_instance(tmp_path, StudyInstanceUID="1.2.1"))
        assert (closed.find(*STUDY).statuses, closed.get(*STUDY[:1], "StudyInstanceUID=1.2.1").status) == ([0x0124], 0x0124)
        assert [row.code for row in closed.events("query.refused")] == ["NOT_ALLOWED_TO_ASK"] * 2
        assert closed.find(*STUDY, options=("-aet", "VIEWER")).status == 0


def test_a_question_is_cancelled(archive_of, tmp_path):
    with archive_of("many") as many:
        many.hold(*(make_instance(tmp_path, StudyInstanceUID=f"1.2.{number}") for number in range(1, 60)))
        asking = many.find(*STUDY, "PatientName", options=("--cancel", "3"))
        assert asking.status == 0xFE00, asking.statuses
        assert many.events("query.answered")[-1].detail["how"] == "stopped by who asked"
        assert many.find(*STUDY).status == 0


def test_nothing_is_offered_where_it_is_not_enabled(archive_of):
    with archive_of("off", query={"enabled": False}) as off:
        assert "No Acceptable Presentation Contexts" in off.find(*STUDY).log
