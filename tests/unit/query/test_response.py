"""What is answered: every key that was asked for, in a character set that the asker can read."""

import pytest
from pydicom import Dataset

from node.core.errors import IdentifierMismatch
from node.query.identifier import read_question, read_selection
from node.query.response import choose_character_set, respond


@pytest.mark.parametrize(
    ("asked", "text", "chosen"),
    [
        ("", "Doe", ""),
        ("ISO_IR 100", "Doe", ""),
        ("", "Müller", "ISO_IR 192"),
        ("ISO_IR 100", "Müller", "ISO_IR 100"),
        ("ISO_IR 192", "Müller", "ISO_IR 192"),
        ("ISO_IR 144", "Müller", "ISO_IR 192"),
        ("ISO_IR 144", "Юлий", "ISO_IR 144"),
        ("ISO 2022 IR 87", "山田", "ISO_IR 192"),
        ("NONSENSE", "Müller", "ISO_IR 192"),
    ],
)
def test_the_character_set_is_that_of_the_question_where_it_suffices(asked, text, chosen):
    assert choose_character_set(asked, ["ASCII", text]) == chosen


def ask(**keys):
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def test_what_a_header_says_that_is_no_number_comes_back_empty():
    question = read_question(
        "STUDY", ask(QueryRetrieveLevel="IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.3", InstanceNumber=None, Rows=None)
    )
    answer = respond(question, {"InstanceNumber": ("one",), "Rows": ("many",)}, "RADNODE")
    assert (answer.InstanceNumber, answer.Rows) == (None, None)
    assert respond(question, {"InstanceNumber": ("7",), "Rows": ("512",)}, "RADNODE").Rows == 512


def test_the_time_zone_is_told_where_it_is_known():
    question = read_question("STUDY", ask(QueryRetrieveLevel="STUDY", StudyTime=""))
    assert respond(question, {"TimezoneOffsetFromUTC": ("+0100",)}, "RADNODE").TimezoneOffsetFromUTC == "+0100"
    assert "TimezoneOffsetFromUTC" not in respond(question, {}, "RADNODE")


def test_a_selection_names_its_level_exactly():
    chosen = read_selection("STUDY", ask(QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.3", "1.2"], PatientID="P1"))
    assert chosen.named == {"STUDY": ("1.2", "1.3")}
    chosen = read_selection("PATIENT", ask(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2", PatientID="P1"))
    assert chosen.named == {"PATIENT": ("P1",), "STUDY": ("1.2",)}
    with pytest.raises(IdentifierMismatch):
        read_selection("PATIENT", ask(QueryRetrieveLevel="PATIENT", PatientID="P*"))


def test_nothing_but_uids_may_be_written_down():
    subject = read_question("STUDY", ask(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2", PatientID="P1", PatientName="Doe")).subject
    assert (subject.keys, dict(subject.uids)) == (("PatientID", "PatientName", "StudyInstanceUID"), {"StudyInstanceUID": ("1.2",)})


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_name_in_the_place_of_a_uid_is_not_written_down():
    subject = read_question("STUDY", ask(QueryRetrieveLevel="STUDY", StudyInstanceUID="Doe^John")).subject
    assert "Doe" not in str(subject)
