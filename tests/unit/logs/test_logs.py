"""Logs tell operators what happened, and never who the patient is."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, warnings, structlog
from node.logs import configure_logs
configure_logs("info", {style!r}, "listen")
log = structlog.get_logger("node.anything")
log.info("instance.received", patient_name="Doe^Jane", sop_instance_uid="1.2.3")
try:
    try:
        int("Doe^Jane")
    except ValueError as error:
        raise KeyError("Doe^Jane") from error
except KeyError:
    log.exception("instance.crashed")
import threading
thread = threading.Thread(target=lambda: int("Doe^Jane"))
thread.start(); thread.join()
logging.getLogger("pydicom").warning("Invalid value Doe^Jane")
logging.getLogger("pynetdicom").error("(0010,0010) PN [Doe^Jane]")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_name_reaches_the_log_by_any_way(style: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(style=style)], capture_output=True, text=True, check=True)
    assert "instance.received" in done.stderr
    assert "1.2.3" in done.stderr
    assert "listen" in done.stderr
    assert "ValueError" in done.stderr, "the trace names both errors"
    assert "KeyError" in done.stderr
    assert "Doe" not in done.stdout + done.stderr


def test_what_nobody_caught_is_logged_without_what_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(style="json") + 'int("Doe^Jane")'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "process.crashed" in done.stderr
    assert "thread.crashed" in done.stderr
    assert "Doe" not in done.stdout + done.stderr
