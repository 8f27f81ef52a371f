"""The one error tree: codes that operators search for, verdicts that the node follows, sentences that survive a process boundary."""

import pickle
import re
from collections import Counter
from copy import copy
from pathlib import Path

import pytest

from node.core import errors
from node.core.errors import CodedError, RefusedByUs, Verdict
from node.work.loop import Crashed, Poison  # the worker's own two

ROOT = Path(__file__).parents[3]


def tree(kind=CodedError):
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


EVERY = sorted({kind for kind in tree() if kind.__module__.startswith(("node.", "pipelines."))}, key=lambda kind: kind.__name__)
every_error = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)

TREE = {
    "CodedError": (None, "fail"),
    "ConfigError": ("CodedError", "fail"),
    "RefusedByUs": ("CodedError", "refuse"),
    "NotAuthorised": ("RefusedByUs", "refuse"),
    "NotEnoughDisk": ("RefusedByUs", "refuse"),
    "DoesNotMatch": ("RefusedByUs", "refuse"),
    "NotUnderstood": ("RefusedByUs", "refuse"),
    "ConflictingDuplicate": ("RefusedByUs", "refuse"),
    "QueryRefused": ("CodedError", "refuse"),
    "NotAllowedToAsk": ("QueryRefused", "refuse"),
    "TooManyMatches": ("QueryRefused", "refuse"),
    "TooManyInstances": ("QueryRefused", "refuse"),
    "UnknownDestination": ("QueryRefused", "refuse"),
    "IdentifierMismatch": ("QueryRefused", "refuse"),
    "IdentifierUnreadable": ("QueryRefused", "refuse"),
    "InputError": ("CodedError", "refuse"),
    "NoUsableSeries": ("InputError", "refuse"),
    "GeometryError": ("InputError", "refuse"),
    "IdentityConflict": ("InputError", "refuse"),
    "UnsupportedPixelData": ("InputError", "refuse"),
    "ImplausibleResult": ("InputError", "refuse"),
    "EvaluationError": ("InputError", "refuse"),
    "QualityError": ("InputError", "refuse"),
    "Discontinued": ("InputError", "refuse"),
    "ModelError": ("CodedError", "fail"),
    "BundleMissing": ("ModelError", "fail"),
    "DigestMismatch": ("ModelError", "fail"),
    "BundleContract": ("ModelError", "fail"),
    "WrongOutput": ("ModelError", "fail"),
    "DeviceError": ("CodedError", "retry"),
    "OutOfMemory": ("DeviceError", "retry"),
    "DeviceLost": ("DeviceError", "retry"),
    "TimedOut": ("DeviceError", "retry"),
    "EncodeError": ("CodedError", "fail"),
    "DeliveryError": ("CodedError", "retry"),
    "PeerUnavailable": ("DeliveryError", "retry"),
    "PeerRefused": ("DeliveryError", "refuse"),
    "StorageError": ("CodedError", "retry"),
    "WrongPlace": ("CodedError", "fail"),
    "Cancelled": ("CodedError", "refuse"),
    "Purged": ("InputError", "refuse"),
    "StateError": ("CodedError", "fail"),
    "StepRefused": ("CodedError", "refuse"),
}
STATUS = {"RefusedByUs": 0xC000, "NotAuthorised": 0x0124, "NotEnoughDisk": 0xA700, "DoesNotMatch": 0xA900, "NotUnderstood": 0xC000}
STATUS |= {"ConflictingDuplicate": 0xC001, "QueryRefused": 0xC000, "NotAllowedToAsk": 0x0124, "TooManyMatches": 0xA700}
STATUS |= {"TooManyInstances": 0xA701, "UnknownDestination": 0xA801, "IdentifierMismatch": 0xA900, "IdentifierUnreadable": 0xC000}


def test_the_tree_is_the_one_that_is_written_down():
    found = {kind.__name__: (kind.__base__.__name__ if kind is not CodedError else None, str(kind.verdict)) for kind in EVERY}
    mine = {name: what for name, what in found.items() if name in TREE}
    assert mine == TREE
    assert {"Crashed", "Poison"} <= found.keys()


def test_everything_that_the_core_offers_is_in_the_tree():
    offered = {name for name in errors.__all__ if name != "Verdict"}
    assert offered == TREE.keys()


@every_error
def test_each_class_says_its_own_code_and_sentence(kind):
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.code)
    assert isinstance(kind.verdict, Verdict)
    assert (kind.__doc__ or "").strip()
    assert kind is CodedError or "code" in vars(kind), "a code that is inherited tells an operator nothing"


def test_no_two_classes_share_a_code():
    assert [code for code, times in Counter(kind.code for kind in EVERY).items() if times > 1] == []


def test_no_class_anywhere_in_the_sources_takes_a_code_that_is_taken():
    sources = [path.read_text() for package in ("node", "pipelines") for path in (ROOT / package).rglob("*.py")]
    codes = [code for text in sources for code in re.findall(r'^    code(?:: ClassVar\[str\])? = "([A-Z_]+)"$', text, re.MULTILINE)]
    assert {kind.code for kind in EVERY} <= set(codes), "the pattern must find at least what was imported"
    assert [code for code, times in Counter(codes).items() if times > 1] == []


@every_error
@pytest.mark.parametrize("reason", ["", "gap"])
def test_an_error_arrives_in_another_process_as_it_was(kind, reason):
    error = kind("The series has a gap; send it again.", reason=reason)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.sentence, again.reason, again.code, again.verdict) == (error.sentence, reason, kind.code, kind.verdict)
    assert str(again) == str(error)
    assert again.args == error.args
    assert copy(error).reason == reason


@every_error
def test_the_reason_refines_the_code(kind):
    assert kind("It broke.").full_code == kind.code
    assert str(kind("It broke.")) == f"{kind.code}: It broke."
    assert kind("It broke.", reason="gap").full_code == f"{kind.code}.gap"
    assert str(kind("It broke.", reason="gap")) == f"{kind.code}.gap: It broke."


@pytest.mark.parametrize("kind", [kind for kind in EVERY if issubclass(kind, RefusedByUs)], ids=lambda kind: kind.__name__)
def test_what_we_refuse_is_answered_a_failure_of_the_storage_service(kind):
    assert kind.status == STATUS[kind.__name__]
    assert kind.status == 0x0124 or kind.status >> 8 in (0xA7, 0xA9) or kind.status >> 12 == 0xC  # PS3.4 Table B.2-1, PS3.7 Annex C


def test_what_the_device_does_may_be_tried_again_and_what_the_model_does_may_not():
    assert Crashed.verdict is Verdict.RETRY
    assert Poison.verdict is Verdict.FAIL
