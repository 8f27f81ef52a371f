"""The real listener with the real configuration answers questions, and the logs hold no name."""

import re
import subprocess
import sys

from pydicom import dcmread

from tests.integration.dimse.station import data_set_bytes
from tests.integration.query.archive import make_instance
from tests.nodes import Node
from tests.peers import HOST, StoreScp, find_tool, store_scu


def test_the_listener_answers_questions(tmp_path, store_scp: StoreScp):
    node = Node(tmp_path / "node", [("pacs", store_scp.ae_title, store_scp.port)], quiet_s=3600)
    path = make_instance(tmp_path / "made", PatientName="Geheim^Anna", StudyInstanceUID="1.2.3")
    with node.running("listen"):
        assert store_scu(HOST, node.port, [path]).statuses == [0]
        node.wait_for("instance.received")
        asked = ["-S", "-aec", "RADNODE", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3"]
        found = run("findscu", *asked, "-k", "PatientName=geheim*", HOST, str(node.port))
        assert re.search(r"PatientName|Geheim\^Anna", found)
        run("movescu", *asked, "-aem", store_scp.ae_title, HOST, str(node.port))
        node.wait_for("retrieve.finished")
    (moved,) = store_scp.received()
    assert data_set_bytes(moved) == data_set_bytes(path)
    assert dcmread(moved).PatientName == "Geheim^Anna"
    history = [sys.executable, "-m", "node", "history", "1.2.3", "-c", str(node.config_path)]
    told = subprocess.run(history, capture_output=True, text=True, check=True)
    assert "1 matches at the level STUDY, complete" in " ".join(told.stdout.split())
    assert "geheim" not in (node.logs() + str([row.detail for row in node.events()])).lower()


def run(program, *arguments):
    done = subprocess.run([find_tool(program), "-v", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr
