"""How long a sender pauses within a study, learned from what it has sent before."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from node.intake.completeness import QuietTime
from node.ledger import studies
from node.ledger.engine import Transaction

#: So many studies must have been completed before anything is learned from them, and so many of the last count.
_LEAST_STUDIES, _MOST_STUDIES = 5, 50
#: The quiet time is so many times the longest pause.
_MARGIN = 3.0
_KEPT_S = 60.0


class Pace:
    """The quiet time of each sender.

    Parameters
    ----------
    least_s, most_s : float
        What is learned stays within these. A pause longer than ``most_s`` teaches nothing: it could not have been waited out.
    """

    def __init__(self, least_s: float, most_s: float) -> None:
        self.least_s, self._most_s = least_s, most_s
        self._known: dict[str, tuple[float, QuietTime | None]] = {}

    def of(self, tx: Transaction, calling_ae: Collection[str], configured_s: float) -> QuietTime:
        """The quiet time of a study that came from these; of several senders, the longest."""
        learned = [self._learned(tx, caller) or QuietTime(seconds=configured_s) for caller in sorted(calling_ae)]
        return max(learned, key=lambda quiet: quiet.seconds, default=QuietTime(seconds=configured_s))

    def _learned(self, tx: Transaction, calling_ae: str) -> QuietTime | None:
        until, known = self._known.get(calling_ae, (0.0, None))
        if time.monotonic() >= until:
            known = learn(calling_ae, studies.longest_pauses(tx, calling_ae, most=_MOST_STUDIES), self.least_s, self._most_s)
            self._known[calling_ae] = (time.monotonic() + _KEPT_S, known)
        return known


def learn(calling_ae: str, pauses_s: Sequence[float], least_s: float, most_s: float) -> QuietTime | None:
    """The quiet time that the longest pauses of a sender's last studies ask for; None when they are too few to tell."""
    if len(pauses_s) < _LEAST_STUDIES:
        return None
    longest_s = max((pause_s for pause_s in pauses_s if pause_s <= most_s), default=0.0)
    seconds = round(min(max(_MARGIN * longest_s, least_s), most_s), 1)
    return QuietTime(seconds=seconds, why=f"learned from the last {len(pauses_s)} of {calling_ae}, longest pause {longest_s:.1f} s")
