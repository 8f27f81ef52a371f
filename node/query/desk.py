"""The desk that questions come to: who may ask, what is answered, and what is written down of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator

import structlog
from pydicom.dataset import Dataset

from node.core.errors import NotAllowedToAsk, QueryRefused, StorageError, TooManyInstances, TooManyMatches
from node.core.query import Asked, Holding, Retrieval, Root, Subject
from node.ledger import holdings
from node.ledger.engine import Ledger, Transaction
from node.query.identifier import Question, read_question, read_selection
from node.query.search import Search

log = structlog.get_logger(__name__)

#: The counts of sub-operations are 16 bits wide (PS3.7 section 9.3.3.2).
_MOST_INSTANCES = 65_535


class Desk:
    """Answers questions.

    Parameters
    ----------
    calling_ae : collection of str
        Who may ask; whoever could associate where it is empty.
    most_matches : int
        More are not answered to one question.
    """

    def __init__(self, ledger: Ledger, search: Search, *, calling_ae: Collection[str], most_matches: int) -> None:
        self._ledger, self._search = ledger, search
        self._calling_ae, self._most_matches = frozenset(calling_ae), most_matches

    def find(self, asked: Asked, identifier: Dataset) -> Generator[tuple[Dataset, bool]]:
        """Answer a C-FIND: each match, and whether every key that was asked for is supported.

        The row in the audit log is written at the end, also when the caller closes this generator before it.

        Raises
        ------
        QueryRefused
            If it is not answered, or no further.
        """
        question = self._judge(asked, identifier, read_question)
        matches, how = 0, "stopped by who asked"
        try:
            for answer in self._search.find(question):
                if matches == self._most_matches:
                    how = "too many matches"
                    raise TooManyMatches(f"There are more than {self._most_matches} matches; ask for less.")
                matches += 1
                yield answer, question.is_supported
            how = "complete"
        except StorageError as error:
            how = error.full_code
            raise TooManyMatches("The ledger does not answer; ask again later.", reason="database") from error
        finally:
            count = matches
            self._write(lambda tx: holdings.record_query(tx, asked, question.subject, count, how))

    def select(self, asked: Asked, identifier: Dataset) -> tuple[Subject, list[Holding]]:
        """Answer what a C-MOVE or C-GET wants.

        Raises
        ------
        QueryRefused
            If it is not answered.
        """
        question = self._judge(asked, identifier, read_selection)
        try:
            found = self._search.select(question)
        except StorageError as error:
            raise self._refuse(asked, TooManyInstances("The ledger does not answer; ask again later.", reason="database")) from error
        if len(found) > _MOST_INSTANCES:
            raise self._refuse(asked, TooManyInstances(f"There are more than {_MOST_INSTANCES} instances; ask for less."))
        return question.subject, found

    def finish(self, asked: Asked, subject: Subject, found: Retrieval) -> None:
        """Write down what became of a C-MOVE or C-GET."""
        self._write(lambda tx: holdings.record_retrieval(tx, asked, subject, found))

    def _judge(self, asked: Asked, identifier: Dataset, read: Callable[[Root, Dataset], Question]) -> Question:
        if self._calling_ae and asked.peer.calling_ae not in self._calling_ae:
            raise self._refuse(asked, NotAllowedToAsk(f"{asked.peer.calling_ae} may not ask."))
        try:
            return read(asked.root, identifier)
        except QueryRefused as refusal:
            raise self._refuse(asked, refusal) from None

    def _refuse(self, asked: Asked, refusal: QueryRefused) -> QueryRefused:
        self._write(lambda tx: holdings.record_query_refused(tx, asked, refusal.full_code, refusal.sentence))
        return refusal

    def _write(self, note: Callable[[Transaction], None]) -> None:
        """Write down what was answered; the answer itself does not depend on it."""
        try:
            self._ledger.write(note, patience_s=5.0)
        except StorageError as error:
            log.warning("query.not_recorded", code=error.full_code, sentence=error.sentence)
