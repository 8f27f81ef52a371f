"""The desk that every reception works with, on a ledger and a spool of the test's own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from node.intake.presence import Presence
from node.intake.receive import Desk
from node.intake.recent import Recent
from node.intake.room import Room
from node.intake.scribe import Fact, Scribe
from node.ledger import instances
from node.ledger.engine import Ledger
from node.ledger.inquiry import Inquiry
from node.spool.local import LocalSpool


@contextmanager
def open_desk(ledger: Ledger, root: Path, *, min_free_bytes: int = 0) -> Iterator[Desk]:
    """A desk whose scribe runs; at the end everything that was handed over is written."""
    with LocalSpool(root, "listen") as spool, closing(Inquiry(ledger, instances.HELD)) as inquiry:
        scribe = Scribe(ledger, spool.keep)
        scribe.start()
        room = Room(spool.free_bytes, min_free_bytes)
        try:
            yield Desk(inquiry=inquiry, spool=spool, scribe=scribe, presence=Presence(), recent=Recent(), room=room)
        finally:
            scribe.stop()


def flush(desk: Desk, seconds: float = 60) -> None:
    """Wait until everything that was handed over before is written: facts are written in their order."""
    desk.scribe.hand_over(Fact()).result(seconds)
