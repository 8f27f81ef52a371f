"""What the parts of a request become in its answer."""

from http import HTTPStatus

import pytest
from pydicom import Dataset

from node.web.answer import status_of, store_response
from node.web.submission import Outcome


def outcomes(*statuses):
    return [Outcome(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=f"1.2.{n}", status=code) for n, code in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([0], HTTPStatus.OK),
        ([0, 0], HTTPStatus.OK),
        ([0, 0xA700], HTTPStatus.ACCEPTED),
        ([0xC000, 0], HTTPStatus.ACCEPTED),
        ([0xC000], HTTPStatus.CONFLICT),
        ([0xA900, 0xC001], HTTPStatus.CONFLICT),
        ([0xA700, 0xA700], HTTPStatus.SERVICE_UNAVAILABLE),
        ([0xA700, 0xC000], HTTPStatus.CONFLICT),
        ([0x0110], HTTPStatus.CONFLICT),
    ],
)
def test_the_status_sums_up_what_became_of_the_parts(statuses, status):
    assert status_of(outcomes(*statuses)) == status


def test_it_is_a_data_set_by_the_dicom_json_model():
    nameless = [Outcome(sop_class_uid="", sop_instance_uid="", status=0xC000)]
    data_set = Dataset.from_json(store_response([*outcomes(0, 0xA900), *nameless]))
    assert data_set.RetrieveURL == ""
    [stored], [failed], [other] = data_set.ReferencedSOPSequence, data_set.FailedSOPSequence, data_set.OtherFailuresSequence
    assert (stored.ReferencedSOPClassUID, stored.ReferencedSOPInstanceUID) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.0")
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2.1", 0xA900)
    assert other.FailureReason == 0xC000


def test_a_sequence_without_items_is_left_out():
    assert sorted(store_response(outcomes(0))) == ["00081190", "00081199"]
    assert sorted(store_response(outcomes(0xC000))) == ["00081190", "00081198"]
