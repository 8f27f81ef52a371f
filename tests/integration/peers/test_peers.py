"""Each peer does what the other tests rely on."""

from pathlib import Path

import psycopg
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from tests.peers import HOST, Orthanc, PostgreSQL, StoreScp, StoreScu, echo_scu, free_port, store_scu


def packaged(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


CT = packaged("CT_small.dcm")
MR = packaged("MR_small.dcm")
JPEG_2000 = packaged("JPEG2000.dcm")


def data_set(path: Path) -> Dataset:
    read = dcmread(path)
    read.pop("DataSetTrailingPadding", None)  # DCMTK leaves the padding out when it sends
    return read


def test_instances_arrive_as_they_are(store_scp: StoreScp) -> None:
    sending = store_scu(HOST, store_scp.port, [CT, MR, JPEG_2000])
    assert sending.statuses == [0, 0, 0]
    assert sending.acknowledged == {str(dcmread(path).SOPInstanceUID) for path in (CT, MR, JPEG_2000)}
    assert [data_set(path) for path in store_scp.received()] == [data_set(path) for path in (CT, MR, JPEG_2000)]


def test_storescu_sends_as_well_as_dcmsend(store_scp: StoreScp) -> None:
    sending = store_scu(HOST, store_scp.port, [CT, CT], "ME", "YOU", program="storescu")
    assert sending.statuses == [0, 0]
    assert store_scp.store_requests() == 2
    assert len(store_scp.received()) == 1


def test_an_instance_that_was_not_answered_has_no_status(tmp_path: Path) -> None:
    with StoreScp(tmp_path, "--abort-after") as peer:
        sending = store_scu(HOST, peer.port, [CT, MR])
    assert sending.accepted
    assert sending.statuses[0] is None
    assert not sending.acknowledged


def test_a_refused_association_stores_nothing(tmp_path: Path) -> None:
    with StoreScp(tmp_path, "--refuse") as peer:
        sending = store_scu(HOST, peer.port, [CT])
    assert not sending.accepted
    assert sending.returncode != 0
    assert sending.instances == ()


def test_a_killed_peer_comes_back_on_its_port(store_scp: StoreScp) -> None:
    assert echo_scu(HOST, store_scp.port)
    store_scp.kill()
    assert not echo_scu(HOST, store_scp.port)
    store_scp.start()
    assert echo_scu(HOST, store_scp.port)


def test_a_sender_can_be_killed_in_the_middle(tmp_path: Path) -> None:
    with StoreScp(tmp_path, "--sleep-after", "5") as peer, StoreScu(HOST, peer.port, [CT, MR]) as sender:
        sender.kill()
        assert not sender.wait(5).acknowledged


def test_orthanc_stores_and_pushes(orthanc: Orthanc, store_scp: StoreScp) -> None:
    orthanc.add_modality("node", store_scp.ae_title, store_scp.port)
    orthanc.upload([CT])
    study, instance = str(dcmread(CT).StudyInstanceUID), str(dcmread(CT).SOPInstanceUID)
    assert orthanc.studies() == [study]
    assert orthanc.file(instance) == CT.read_bytes()

    assert orthanc.push(study, "node")["FailedInstancesCount"] == 0
    assert [str(dcmread(path).SOPInstanceUID) for path in store_scp.received()] == [instance]

    assert store_scu(HOST, orthanc.port, [MR]).statuses == [0]
    assert [found["SOPInstanceUID"] for found in orthanc.instances(Modality="MR")] == [str(dcmread(MR).SOPInstanceUID)]
    orthanc.delete_study(study)
    assert len(orthanc.studies()) == 1


def test_orthanc_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    with Orthanc(tmp_path, dicomweb=True) as pacs:
        store_scu(HOST, pacs.port, [CT])
        pacs.kill()
        pacs.start()
        assert [study["0020000D"]["Value"] for study in pacs.request("GET", "/dicom-web/studies")] == [pacs.studies()]


def test_databases_are_apart(postgresql: PostgreSQL) -> None:
    first, second = (psycopg.connect(postgresql.create_database().replace("+psycopg", "")) for _ in range(2))
    with first, second:
        first.execute("CREATE TABLE study (uid TEXT)")
        first.commit()
        assert second.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            second.execute("SELECT uid FROM study")


def test_postgresql_recovers_from_a_crash() -> None:
    with PostgreSQL(durable=True) as server:
        url = server.create_database().replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE study AS SELECT 1 AS number")
        server.crash()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT number FROM study").fetchone() == (1,)


def test_a_free_port_is_free() -> None:
    assert not echo_scu(HOST, free_port())
