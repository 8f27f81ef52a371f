"""Without unrestricted storage, which pynetdicom keeps for the whole process: its roles are negotiated by another way."""

from tests.integration.dimse.station import data_set_bytes
from tests.integration.query.archive import make_instance


def test_classes_are_got_where_unknown_ones_are_not_taken(archive_of, tmp_path):
    with archive_of("known", unknown_storage=False) as known:
        path = make_instance(tmp_path, StudyInstanceUID="1.2.1")
        known.hold(path)
        asking = known.get("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.1")
        assert (asking.status, [data_set_bytes(came) for came in asking.files]) == (0, [data_set_bytes(path)])
