"""The listeners of a node, as many as it would run, and nothing else of it: what ``radnode bench ingest`` measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node.config.read import read_config
from node.supervisor import listeners_of, open_port


def main(path: Path) -> None:
    """Run the listeners of a configuration on one port until they end."""
    config = read_config(path)
    with open_port(config.listen.host, config.listen.port) as port:
        command = [sys.executable, "-m", "node", "listen", "--config", str(path), "--port-fd", str(port.fileno())]
        crew = [subprocess.Popen(command, pass_fds=[port.fileno()]) for _ in range(listeners_of(config))]
        for listener in crew:
            listener.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
