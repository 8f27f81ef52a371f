"""An identity tells, on the same machine, whether its process still lives; otherwise it tells nothing."""

import os
import re
import subprocess
import sys

import pytest

from node.work.identity import is_gone, new_identity

WAIT = [sys.executable, "-c", "from node.work.identity import new_identity; print(new_identity(), flush=True); input()"]


def changed(identity, part, value):
    parts = identity.split("/")
    parts[part] = value
    return "/".join(parts)


@pytest.fixture
def other():
    """A real process, and what it calls itself."""
    with subprocess.Popen(WAIT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_an_identity_is_host_boot_name_space_process_and_a_part_of_its_own():
    identity = new_identity()
    assert re.fullmatch(r"[^/]+/[0-9a-f]{8}/\d+/\d+/[0-9a-f]{8}", identity)
    assert identity.split("/")[3] == str(os.getpid())
    assert len(f"{identity}/1000000") <= 160, "the ledger's column for tokens"


def test_no_two_identities_are_the_same():
    assert len({new_identity() for _ in range(100)}) == 100


def test_we_are_not_gone():
    assert not is_gone(new_identity())


def test_a_living_process_is_not_gone(other):
    _, identity = other
    assert not is_gone(identity)
    assert not is_gone(f"{identity}/7"), "a token is an identity with a number behind it"


def test_a_killed_process_is_gone(other):
    process, identity = other
    process.kill()
    process.wait()
    assert is_gone(identity)
    assert is_gone(f"{identity}/7")


@pytest.mark.parametrize(
    ("part", "value"), [(0, "another-host"), (1, "00000000"), (2, "1")], ids=["another host", "another boot", "another name space"]
)
def test_what_lies_elsewhere_cannot_be_known_from_here(part, value, other):
    process, identity = other
    process.kill()
    process.wait()
    assert is_gone(identity)
    assert not is_gone(changed(identity, part, value))


@pytest.mark.parametrize("text", ["", "/", "////", "nonsense", "a/b/c", "a/b/c/d/e", "\0", "1/2/3/4/5/6"])
def test_nonsense_is_nobody_we_know(text):
    assert not is_gone(text)


@pytest.mark.parametrize("number", ["", "x", "..", "-1", "1.5", "²"])
def test_our_own_name_with_a_number_that_is_none_is_nobody_we_know(number):
    assert not is_gone(changed(new_identity(), 3, number))


def test_a_name_that_was_cut_short_is_nobody_we_know(other):
    process, identity = other
    process.kill()
    process.wait()
    assert not is_gone(identity.rpartition("/")[0].rpartition("/")[0])
