"""How much of a study a remote AE holds, asked of real ones: one that counts, and one that must be asked for its instances."""

import pytest

from node.core.errors import PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE
from node.core.study import StudyCount
from node.dimse.associate import Caller
from node.dimse.count import count_study
from pipelines.phantom import make_chest_ct, write_datasets
from tests.peers import HOST, Peer, echo_scu, find_tool, free_port, store_scu

#: pynetdicom 3.0.4 leaves the socket of a call to its collector when nobody answered.
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")

CALLER = Caller(ae_title="RADNODE", connect_s=5, answer_s=10)


class QueryRetrieveScp(Peer):
    """DCMTK's dcmqrscp: an archive whose index knows no counts."""

    name = "dcmqrscp"

    def command(self):
        (self.folder / "storage").mkdir(exist_ok=True)
        path = self.folder / "dcmqrscp.cfg"
        path.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nARCHIVE {self.folder / 'storage'} RW (200, 1024mb) ANY\nAETable END\n"
        )
        return [find_tool("dcmqrscp"), "-v", "-c", str(path)]

    def is_ready(self):
        return echo_scu(HOST, self.port, called="ARCHIVE", timeout=2)


@pytest.fixture
def study(tmp_path):
    """Two series of one study, and one of another."""
    folder = tmp_path / "study"
    folder.mkdir()
    sets = (make_chest_ct(shape=(5, 8, 8)), make_chest_ct(shape=(3, 8, 8), seed=1), make_chest_ct(shape=(4, 8, 8), study_name="other"))
    files = [path for number, found in enumerate(sets) for path in _write(found, folder / str(number))]
    return sets[0].study_instance_uid, files


def _write(found, folder):
    folder.mkdir()
    return write_datasets(found.datasets, folder)


def remote(peer, ae_title):
    return RemoteAE(name="pacs", ae_title=ae_title, host=HOST, port=peer.port)


def test_orthanc_counts_and_is_asked_once(orthanc, study):
    uid, files = study
    orthanc.upload(files[:3])
    assert count_study(CALLER, remote(orthanc, "PACS"), uid) == StudyCount(instances=3, series=1)
    orthanc.upload(files[3:])
    assert count_study(CALLER, remote(orthanc, "PACS"), uid) == StudyCount(instances=8, series=2)
    assert count_study(CALLER, remote(orthanc, "PACS"), "1.2.3.4") == StudyCount(instances=0, series=None)


def test_dcmqrscp_does_not_count_and_is_asked_for_series_and_instances(tmp_path, study):
    uid, files = study
    with QueryRetrieveScp(tmp_path / "archive") as archive:
        assert set(store_scu(HOST, archive.port, files, called="ARCHIVE").statuses) == {0}
        assert count_study(CALLER, remote(archive, "ARCHIVE"), uid) == StudyCount(instances=8, series=2)
        levels = [line for line in archive.log.splitlines() if "C-FIND" in line.upper()]
        assert levels, "it was asked"


def test_a_peer_that_is_not_there_is_unavailable():
    with pytest.raises(PeerUnavailable):
        count_study(CALLER, RemoteAE(name="pacs", ae_title="PACS", host=HOST, port=free_port()), "1.2.3")


def test_a_peer_that_is_frozen_does_not_answer(orthanc):
    orthanc.pause()
    with pytest.raises(PeerUnavailable):
        count_study(Caller(ae_title="RADNODE", connect_s=0.5, answer_s=0.5), remote(orthanc, "PACS"), "1.2.3")
    orthanc.resume()


def test_a_peer_that_offers_no_query_refuses(store_scp):
    with pytest.raises(PeerRefused):
        count_study(CALLER, remote(store_scp, store_scp.ae_title), "1.2.3")
