"""A role that is asked to stop stops, at whatever moment it is asked."""

import subprocess
import sys

#: The main thread does nothing but look whether it is to stop, so that most signals come while it holds the event's lock.
PROGRAM = """
import os, signal, subprocess, sys
from node.app.role import stop_on_signals

for _ in range(40):
    stop = stop_on_signals()
    asker = subprocess.Popen(["kill", "-TERM", str(os.getpid())])
    while not stop.wait(0):
        pass
    asker.wait()
"""


def test_no_moment_is_a_bad_one():
    done = subprocess.run([sys.executable, "-c", PROGRAM], timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
