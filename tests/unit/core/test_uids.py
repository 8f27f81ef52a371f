"""Which identifiers are accepted, and how ours are made."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.config import IGNORE
from pydicom.uid import UID

from node.core import uids
from node.core.uids import derive_uid, derive_uuid, is_valid_uid

keys = st.lists(st.text(max_size=12), max_size=5).map(tuple)


@pytest.mark.parametrize(
    "text",
    ["0", "2", "1.2.840.10008.5.1.4.1.1.2", "1.0.3", "0.0", "2.25.0", "2.25." + "9" * 39, "1." + "2" * 62, ".".join("1" * 32)],
)
def test_dotted_decimals_of_at_most_64_characters_are_uids(text):
    assert is_valid_uid(text)


def test_what_is_too_long_for_a_uid_is_not_remembered():
    """A sender chooses the text, and the answers to the latest few thousand are kept."""
    is_valid_uid("1.2.3")
    before = uids._is_well_formed.cache_info()
    assert before.currsize, "something is remembered"
    assert not any(is_valid_uid("1." + "2" * length) for length in range(63, 5000))
    assert uids._is_well_formed.cache_info() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("1." + "2" * 63, "65 characters"),
        ("1.02.3", "a component begins with zero"),
        ("00", "a component begins with zero"),
        ("1.2.00", "a component begins with zero"),
        ("1..2", "an empty component"),
        (".1.2", "begins with a dot"),
        ("1.2.", "ends with a dot"),
        ("1.2.a", "a letter"),
        ("1.2.-3", "a sign"),
        ("1.2 .3", "a space"),
        (" 1.2", "leading space"),
        ("1.2 ", "padded as text"),
        ("1.2\0", "padded as PS3.5 pads it: to be taken off by the reader"),
        ("1.2\n", "a line feed, which $ would let through"),
        ("1.2\n1.3", "two lines"),
        ("1.2/../../etc", "a path"),
        ("1.2\\1.3", "two values"),
        ("\u0661.\u0662", "digits of another script"),
        ("1.\u00b2", "a superscript"),
        ("1\uff0e2", "a full-width stop"),
    ],
)
def test_nothing_else_is_a_uid(text, why):
    assert not is_valid_uid(text), why


@given(st.text(alphabet="0123456789.", max_size=70))
def test_the_rule_is_pydicoms_rule(text):
    assert is_valid_uid(text) == UID(text, validation_mode=IGNORE).is_valid


@given(st.text())
def test_what_passes_is_safe_as_a_file_name(text):
    assert not is_valid_uid(text) or (set(text) <= set("0123456789.") and text[0] != "." and ".." not in text)


@given(keys)
def test_derived_uids_are_valid_and_under_2_25(key):
    uid = derive_uid(*key)
    assert is_valid_uid(uid)
    assert uid == f"2.25.{derive_uuid(*key).int}"
    assert derive_uuid(*key).version == 5


@given(keys, keys)
def test_keys_share_an_identifier_only_if_they_are_the_same_key(one, other):
    assert (derive_uid(*one) == derive_uid(*other)) == (one == other)


@given(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=4), st.data())
def test_where_the_parts_are_cut_matters(parts, data):
    text = "".join(parts)
    cut = data.draw(st.integers(1, len(text) - 1))
    again = (text[:cut], text[cut:])
    assert (derive_uid(*parts) == derive_uid(*again)) == (tuple(parts) == again)


def test_a_part_that_looks_like_two_parts_is_one_part():
    assert derive_uid("a", "b") != derive_uid("a,1:b")
    assert derive_uid("1:a,") != derive_uid("a")


def test_the_same_key_gives_the_same_uid_in_every_release():
    assert derive_uid("a key", "of two parts") == "2.25.20778815510997567628796701963573560506"


def test_the_same_key_gives_the_same_uid_in_every_process():
    program = "from node.core.uids import derive_uid; print(derive_uid('å', '', '1.2.3'))"
    seeds = ("1", "2")
    said = {
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in seeds
    }
    assert said == {f"{derive_uid('å', '', '1.2.3')}\n".encode()}
