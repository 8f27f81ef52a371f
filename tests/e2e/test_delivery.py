"""Results reach several destinations, each in its own way, and the ledger says of each what is known."""

from pathlib import Path

import pytest

from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import Node
from tests.peers import HOST, Orthanc, StoreScp, free_port, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MORE = """
[[destination]]
name = "cloud"
kind = "stow"
url = "{url}"
[[destination]]
name = "sender"
kind = "sender"
[[destination]]
name = "away"
ae_title = "AWAY"
host = "127.0.0.1"
port = {away}
[[peer]]
name = "ct"
ae_title = "STORESCU"
host = "127.0.0.1"
port = {sender}
"""


def test_each_destination_is_told_apart(tmp_path: Path, study: list[Path], phantom: ChestPhantom, orthanc: Orthanc) -> None:
    with Orthanc(tmp_path / "cloud", dicomweb=True) as cloud, StoreScp(tmp_path / "sender", ae_title="STORESCU") as sender:
        more = MORE.format(url=cloud.dicomweb_url, away=free_port(), sender=sender.port)
        node = Node(tmp_path / "node", [("pacs", "PACS", orthanc.port)], confirm="commitment", more=more)
        text = node.config_path.read_text().replace("[deliver]\n", "[deliver]\nattempts = 3\n")
        node.config_path.write_text(text)
        orthanc.add_modality("radnode", "RADNODE", node.port)
        with node.running():
            sending = store_scu(HOST, node.port, study, called="RADNODE")
            assert set(sending.statuses) == {0}
            node.wait_at_rest()
        with node.ledger() as ledger, ledger.reading() as tx:
            found = {(row[0], row[1]) for row in tx.exec_driver_sql("SELECT destination, evidence FROM delivered").all()}
        assert found == {
            ("pacs", "confirmed by storage commitment"),
            ("cloud", "confirmed by query"),
            ("sender", "sent, not confirmed"),
            ("away", "not delivered"),
        }
        archives = {"pacs": held_by(orthanc), "cloud": held_by(cloud), "sender": Archived.in_files(sender.received())}
        invariants.check(node, sending.acknowledged, archives)


def held_by(peer: Orthanc) -> Archived:
    """The results in an Orthanc."""
    return Archived(peer.file(instance["SOPInstanceUID"]) for instance in peer.instances())


def test_results_of_a_study_whose_sender_nobody_knows_say_whom_to_add(tmp_path: Path, study: list[Path], store_scp: StoreScp) -> None:
    more = '[[destination]]\nname = "sender"\nkind = "sender"\n'
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], more=more)
    with node.running():
        sending = store_scu(HOST, node.port, study, called="RADNODE")
        assert set(sending.statuses) == {0}
        node.wait_at_rest()
    parcels = {row["destination"]: row for row in node.rows("work") if row["kind"] == "deliver"}
    assert parcels["pacs"]["state"] == "done"
    assert (parcels["sender"]["state"], parcels["sender"]["code"]) == ("refused", "PEER_REFUSED.unknown_sender")
    assert "came from STORESCU, which is no [[peer]]" in parcels["sender"]["reason"]
    states = {row["destination"]: row["state"] for row in node.rows("delivery")}
    assert states == {"pacs": "sent", "sender": "refused"}
    invariants.check(node, sending.acknowledged, {"pacs": Archived.in_files(store_scp.received()), "sender": Archived([])})
