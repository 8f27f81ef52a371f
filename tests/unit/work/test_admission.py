"""Who may work next: a table of what runs, what waits, what is free, and what is done."""

import pytest

from node.core.memory import Memory, Need
from node.work.admission import Decision, Loaded, decide

GB = 1_000_000_000
MACHINE = Memory(host=16 * GB, device=16 * GB)


def need(host: float, device: float = 0.0) -> Need:
    peak = Memory(host=int(host * GB), device=int(device * GB))
    return Need(held=Memory(host=peak.host // 2, device=peak.device // 2), peak=peak)


NEEDS = {"small": need(2), "large": need(8), "gpu": need(1, 10)}


def child(model: str, *, busy: bool = False, used: int = 0, host: float = 1.0, device: float = 0.0) -> Loaded:
    return Loaded(model=model, busy=busy, held=Memory(host=int(host * GB), device=int(device * GB)), used=used)


def done(model: str, *children: Loaded, host: float = 16.0, device: float = 16.0, at_once: int = 2) -> Decision:
    return decide(model, children, NEEDS, Memory(host=int(host * GB), device=int(device * GB)), MACHINE, at_once)


WARM, IDLE, OLDER = child("small", used=3), child("large", used=2), child("gpu", used=1)


@pytest.mark.parametrize(
    ("found", "what", "which"),
    [
        (done("small"), "start", None),
        (done("small", WARM), "use", WARM),
        (done("small", child("small", busy=True)), "start", None),
        (done("small", child("small", busy=True), at_once=1), "wait", None),
        # What runs will grow to its peak: of the 9 GB that are free, 7 are promised.
        (done("small", child("large", busy=True), host=9.0), "start", None),
        (done("small", child("large", busy=True), host=8.9), "wait", None),
        # A warm child holds a part of what it needs already.
        (done("small", WARM, host=1.0), "use", WARM),
        # Idle models make room, the one that was not used for the longest time first, and never the one that is wanted.
        (done("large", IDLE, OLDER, host=6.0), "unload", OLDER),
        (done("large", IDLE, host=6.0), "use", IDLE),
        (done("small", IDLE, OLDER, host=1.0), "unload", OLDER),
        # The device's memory counts by itself.
        (done("gpu", IDLE, device=9.0), "unload", IDLE),
        (done("small", IDLE, device=-1.0), "start", None),
        (done("gpu", child("small", busy=True), device=9.0), "wait", None),
        # With nothing left to unload it may try: it may still manage with less.
        (done("large", host=0.5), "start", None),
        (done("small", WARM, host=0.1), "use", WARM),
        # What was never measured runs alone, with a quarter of the machine to begin with.
        (done("new"), "start", None),
        (done("new", WARM, host=4.0), "start", None),
        (done("new", WARM, host=3.9), "unload", WARM),
        (done("new", child("small", busy=True)), "wait", None),
        (done("small", child("new", busy=True)), "wait", None),
    ],
)
def test_the_decision(found: Decision, what: str, which: Loaded | None) -> None:
    assert found == Decision(what=what, child=which)
