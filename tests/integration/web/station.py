"""Both of the node's doors in this process, at one desk: C-STORE and HTTP."""

from pathlib import Path
from typing import Self

from node.web.door import Client, Door
from node.web.server import Server
from tests.integration.dimse.station import Station
from tests.peers import HOST, free_port


class WebStation(Station):
    """A station with an HTTP port. The options are those of `node.web.door.Door`, ``tokens``, ``min_free_bytes`` and ``url``."""

    def __init__(self, folder: Path, *, url: str = "", min_free_bytes: int = 0, tokens: dict[str, str] | None = None, **door) -> None:
        super().__init__(folder, url=url, min_free_bytes=min_free_bytes)
        self.web_port, self.is_well = free_port(), True
        values = {
            "certificate_names": frozenset(),
            "max_requests": 4,
            "largest_request": 1 << 31,
            "largest_instance": 1 << 31,
            "idle_s": 30.0,
            "slowest": 1000,
        }
        clients = tuple(Client(name=name, token=token) for name, token in (tokens or {}).items())
        self.web_door = Door(host=HOST, port=self.web_port, ae_title="RADNODE", clients=clients, **(values | door))

    def __enter__(self) -> Self:
        super().__enter__()
        server = Server(self.web_door, self.receiver, self.desk.room.is_there, lambda: self.is_well, drain_s=2.0)
        server.start()
        self._stack.callback(server.stop)
        return self
