"""config.toml as it is shipped, with nothing changed but places and patience, runs a node."""

from pathlib import Path

import pytest

from node.config import read_config
from pipelines.phantom import ChestPhantom
from tests import invariants
from tests.invariants import Archived
from tests.nodes import REPOSITORY, Node
from tests.peers import HOST, StoreScp, store_scu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_the_shipped_configuration_runs_a_node(tmp_path: Path, study: list[Path], phantom: ChestPhantom) -> None:
    with StoreScp(tmp_path / "pacs", ae_title="PACS") as pacs:
        node = Node(tmp_path / "node", [])
        changes = {
            'data = "var/node"': f'data = "{node.folder / "data"}"',
            "port = 11112": f"port = {node.port}",
            'folder = "pipelines"': f'folder = "{REPOSITORY / "pipelines"}"',
            'models = "models"': f'models = "{REPOSITORY / "models"}"',
            "port = 4242": f"port = {pacs.port}",
            "quiet_s = 30.0": "quiet_s = 1.0",
            "min_free_bytes = 1_000_000_000": "min_free_bytes = 0",
        }
        text = (REPOSITORY / "config.toml").read_text()
        for shipped, ours in changes.items():
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, ours)
        node.config_path.write_text(text)
        node.config = read_config(node.config_path)
        with node.running():
            sending = store_scu(HOST, node.port, study, called="RADNODE")
            assert set(sending.statuses) == {0}
            node.wait_at_rest()
        invariants.check(node, sending.acknowledged, {"pacs": Archived.in_files(pacs.received())})
