"""Orthanc asks, and fetches what it found."""

from contextlib import contextmanager

import pytest
from pydicom import dcmread

from tests.integration.dimse.station import data_set_bytes
from tests.integration.query.archive import CT, make_instance
from tests.peers import HOST, Orthanc, free_port

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    # When the other side closes first, pynetdicom 3.0.4 leaves its socket to be closed by the collector (transport.py, _shutdown_socket).
    pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def pacs_and_archive(archive_of, folder):
    port = free_port()
    peers = [{"name": "pacs", "ae_title": "PACS", "host": HOST, "port": port}]
    with Orthanc(folder / "orthanc", port=port) as pacs, archive_of("asked", peers=peers) as archive:
        pacs.add_modality("radnode", "RADNODE", archive.port)
        yield pacs, archive


def test_orthanc_finds_and_retrieves_a_study(archive_of, test_data, tmp_path):
    with pacs_and_archive(archive_of, tmp_path) as (pacs, archive):
        files = sorted((test_data / "ct_body_j2k_totalseg" / "ct").iterdir())[:5]
        study, paths = "1.2.77", []
        for number, path in enumerate(files):
            data_set = dcmread(path)
            data_set.PatientName, data_set.PatientID, data_set.SpecificCharacterSet = "Größe^Anna", "K1", "ISO_IR 100"
            data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.StudyDate = study, "1.2.77.1", "20260102"
            data_set.SOPClassUID, data_set.SOPInstanceUID = CT, data_set.file_meta.MediaStorageSOPInstanceUID
            paths.append(tmp_path / f"{number}.dcm")
            data_set.save_as(paths[-1])
        archive.hold(*paths, make_instance(tmp_path / "other", PatientID="K2", PatientName="Other^One"))

        query = pacs.request(
            "POST", "/modalities/radnode/query", {"Level": "Study", "Query": {"PatientName": "größe*", "StudyDate": "20260101-"}}
        )
        (answer,) = pacs.request("GET", f"/queries/{query['ID']}/answers?expand&simplify")
        assert (answer["StudyInstanceUID"], answer["PatientName"], answer["PatientID"]) == (study, "Größe^Anna", "K1")
        series = pacs.request("POST", "/modalities/radnode/query", {"Level": "Series", "Query": {"StudyInstanceUID": study}})
        assert len(pacs.request("GET", f"/queries/{series['ID']}/answers")) == 1

        pacs.request("POST", f"/queries/{query['ID']}/retrieve", {"TargetAet": "PACS", "Synchronous": True})
        assert pacs.studies() == [study]
        held = {uid: archive.bytes_of(one) for uid, one in archive.held().items() if one.study_instance_uid == study}
        assert len(held) == 5
        for uid, content in held.items():
            (tmp_path / "copy.dcm").write_bytes(pacs.file(uid))
            assert data_set_bytes(tmp_path / "copy.dcm") == content
        (row,) = archive.wait_for("retrieve.finished")
        assert (row.detail["destination"], row.detail["completed"]) == ("PACS", 5)
        archive.check()
