"""One listener in a process of its own: ``python -m tests.fuzz.listener FOLDER PORT '{"fast": true}'``; it ends when its input does."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path

from node.app.listen import make_threads_agile
from node.dimse.tls import server_context
from node.logs import configure_logs
from tests.integration.dimse.station import Station


def main(folder: Path, port: int, options: dict[str, object]) -> None:
    """Serve until standard input is closed."""
    warnings.simplefilter("ignore")  # pydicom's, of what is damaged
    configure_logs("info", "json", "listen")
    logging.getLogger("pynetdicom").setLevel(logging.ERROR)  # what it catches by itself is to be seen
    if certificate := options.pop("certificate", None):
        options["tls"] = server_context(Path(str(certificate)), Path(str(options.pop("key"))), None)
    with Station(folder, port=port, **options):
        make_threads_agile()
        os.write(1, b"ready\n")
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
