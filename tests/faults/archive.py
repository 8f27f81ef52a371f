"""A PACS with moods: it refuses now and then, hangs up before or after it has stored, and is gone for a while."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

from tests.peers import HOST, free_port

SUCCESS, PENDING, OUT_OF_RESOURCES = 0x0000, 0xFF00, 0xA700


class MoodyArchive:
    """Storage and Query SCP that keeps every object by its SOP Instance UID, as an archive does.

    Parameters
    ----------
    chance : Random
        Decides on every request.
    refuses : float
        Of 1: how many it does not answer Success. Of ten of these it refuses six, hangs up on two before it has stored them, and on two
        behind it.

    Attributes
    ----------
    stored : dict
        The file of each object, by its UID.
    answers : Counter
        What became of the requests, in words.
    conflicts : list of str
        UIDs that came a second time with other content.
    """

    ae_title = "MOODYPACS"

    def __init__(self, chance: random.Random, refuses: float) -> None:
        self.port = free_port()
        self.stored: dict[str, bytes] = {}
        self.answers: Counter[str] = Counter()
        self.conflicts: list[str] = []
        self._chance, self._refuses = chance, refuses
        self._lock = threading.Lock()
        self._server: Any = None

    def open(self) -> None:
        """Open the port."""
        ae = AE(self.ae_title)
        ae.supported_contexts = AllStoragePresentationContexts
        for offered in (Verification, StudyRootQueryRetrieveInformationModelFind):
            ae.add_supported_context(offered)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_C_FIND, self._on_find)]
        self._server = ae.start_server((HOST, self.port), block=False, evt_handlers=handlers)

    def vanish(self) -> None:
        """Close the port and every association."""
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown()
            self._server = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    def _on_store(self, event: evt.Event) -> int:
        mood = self._mood()
        if mood in ("stored", "stored, and hung up"):
            self._keep(str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())
        with self._lock:
            self.answers[mood] += 1
        if mood.endswith("hung up"):
            event.assoc.abort()
        return OUT_OF_RESOURCES if mood == "refused" else SUCCESS

    def _mood(self) -> str:
        with self._lock:
            if self._chance.random() >= self._refuses:
                return "stored"
            return self._chance.choices(["refused", "hung up", "stored, and hung up"], [6, 2, 2])[0]

    def _keep(self, uid: str, content: bytes) -> None:
        with self._lock:
            if self.stored.setdefault(uid, content) != content:
                self.conflicts.append(uid)
            elif self.stored[uid] is not content:
                self.answers["came again"] += 1

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        if str(identifier.SOPInstanceUID) in self.stored:
            yield PENDING, identifier
