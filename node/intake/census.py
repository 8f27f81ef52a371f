"""Asking remote AEs how much a study holds, while the sweep goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from node.core.errors import CodedError
from node.core.study import Asked, StudyCount

log = structlog.get_logger(__name__)

#: Asks the remote AE of this name how much of a study it holds; raises a CodedError when it does not say.
Ask: TypeAlias = Callable[[str, str], StudyCount]


@dataclass(slots=True, kw_only=True, eq=False)
class _Question:
    """The last question to one remote AE on one study, and the answer that holds until it is answered."""

    peer: str
    study_instance_uid: str
    of: Hashable
    turn: int
    ours: StudyCount
    answer: Asked
    is_open: bool = True


class Census:
    """Keeps the answers of remote AEs, each asked by a thread of its own: a slow one holds up neither the sweep nor another.

    Parameters
    ----------
    ask : callable
        Asks, and may take its time.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], _Question] = {}
        self._waiting: dict[str, queue.SimpleQueue[_Question]] = {}

    def consult(self, peer: str, study_instance_uid: str, of: Hashable, turn: int, ours: StudyCount) -> Asked:
        """What ``peer`` says of a study; it is asked when that is not known, or was asked at an earlier turn.

        Parameters
        ----------
        of : hashable
            Everything that makes an old answer worthless when it changes.
        turn : int
            Counts up when it is time to ask again; the old answer holds until the new one is there.
        ours : StudyCount
            Results of ours that the peer holds now.
        """
        with self._lock:
            last = self._last.get((peer, study_instance_uid))
            answer = last.answer if last is not None and last.of == of else Asked(peer=peer, is_pending=True)
            if last is not None and last.of == of and (last.is_open or last.turn >= turn):
                return answer
            question = _Question(peer=peer, study_instance_uid=study_instance_uid, of=of, turn=turn, ours=ours, answer=answer)
            self._last[peer, study_instance_uid] = question
            self._line_of(peer).put(question)
            return answer

    def forget_but(self, study_instance_uids: Collection[str]) -> None:
        """Keep only what is known of these studies; what waits to be asked on others is not asked any more."""
        with self._lock:
            self._last = {key: question for key, question in self._last.items() if key[1] in study_instance_uids}

    def _line_of(self, peer: str) -> queue.SimpleQueue[_Question]:
        if peer not in self._waiting:
            self._waiting[peer] = queue.SimpleQueue()
            # A daemon, for a peer that never answers must not keep the process from ending.
            threading.Thread(target=self._serve, args=(self._waiting[peer],), name=f"census-{peer}", daemon=True).start()
        return self._waiting[peer]

    def _serve(self, waiting: queue.SimpleQueue[_Question]) -> None:
        while True:
            question = waiting.get()
            with self._lock:
                is_wanted = self._last.get((question.peer, question.study_instance_uid)) is question
            if is_wanted:
                answer = self._put(question)
                with self._lock:
                    question.answer, question.is_open = answer, False

    def _put(self, question: _Question) -> Asked:
        try:
            count = self._ask(question.peer, question.study_instance_uid)
        except CodedError as error:
            log.info("census.unanswered", peer=question.peer, code=error.full_code, sentence=error.sentence)
            return Asked(peer=question.peer, sentence=f"{error.sentence} ({error.full_code})")
        except Exception as error:  # the boundary: whatever a peer answers, the next study must be asked for too
            log.exception("census.crashed", peer=question.peer)
            return Asked(peer=question.peer, sentence=f"{type(error).__name__} while it was asked; the log has the traceback.")
        return Asked(peer=question.peer, count=count, ours=question.ours)


def ask_nobody(peer: str, study_instance_uid: str) -> StudyCount:
    """Answer for nobody: no rule names a remote AE."""
    raise NotImplementedError(f"{peer} cannot be asked for {study_instance_uid}")
