"""Instances that are there to be many: of a study of their own, which no pipeline takes."""

import itertools
import threading
import time
from contextlib import suppress
from typing import Self

from pydicom.uid import generate_uid

from tests.integration.dimse.wire import Wire
from tests.peers import wait_until
from tests.unit.intake.arrivals import encode, make_data_set


class Ballast:
    """One study of such instances, each ``size`` bytes, and what a listener answered for them.

    Attributes
    ----------
    answers : dict
        The last status of each instance, by its SOP Instance UID.
    """

    def __init__(self, size: int = 200_000) -> None:
        self._study, self._size = generate_uid(), size
        self.contents: dict[str, bytes] = {}
        self.answers: dict[str, int] = {}

    @property
    def acknowledged(self) -> set[str]:
        return {uid for uid, status in self.answers.items() if status == 0}

    def make(self) -> str:
        """Another instance; its UID."""
        uid = str(generate_uid())
        data_set = make_data_set(
            SOPInstanceUID=uid, StudyInstanceUID=self._study, Modality="OT", PatientName="Phantom^Ballast", PixelData=bytes(self._size)
        )
        self.contents[uid] = encode(data_set)
        return uid

    def send(self, wire: Wire, *uids: str) -> list[int]:
        """Send instances, new ones when none is named, and note what was answered."""
        for uid in uids or (self.make(),):
            status = wire.store(self.contents[uid], uid)
            assert self.answers.get(uid) != 0 or status == 0, "Success was said before: it is not taken back"
            self.answers[uid] = status
        return [self.answers[uid] for uid in uids]

    def send_rest(self, port: int) -> None:
        """Send what was not answered Success again, until it is; that must be soon."""

        def taken() -> bool:
            rest = set(self.contents) - self.acknowledged
            self.send(wire, *rest)
            return self.acknowledged == set(self.contents)

        with Wire(port) as wire:
            wait_until(taken, seconds=10, sentence="what was refused is not taken either when all is well again", pause=0.2)
            wire.release()


class Stream(threading.Thread):
    """A sender that goes on and on: one new instance after the other, whatever is answered."""

    def __init__(self, port: int, ballast: Ballast, pause_s: float = 0.05) -> None:
        super().__init__(name="stream", daemon=True)
        self._port, self._ballast, self._pause_s = port, ballast, pause_s
        self._stop_sending = threading.Event()

    def run(self) -> None:
        for _ in itertools.count():
            with suppress(OSError, AssertionError), Wire(self._port) as wire:
                wire.socket.settimeout(60)
                while not self._stop_sending.is_set():
                    self._ballast.send(wire)
                    time.sleep(self._pause_s)
                wire.release()
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_sending.set()
        self.join(60)
        assert not self.is_alive()
