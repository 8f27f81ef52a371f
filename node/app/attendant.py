"""A device's way into service: examined first, kept out while it computes wrongly, and the ledger told of it."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from typing import Any

import structlog

from node import process
from node.app.role import Role
from node.core.errors import CodedError, StorageError
from node.core.memory import Need
from node.core.result import Product
from node.ledger import devices
from node.work.device import Device
from node.work.seat import Limits

log = structlog.get_logger(__name__)

_EXAMINATION = "self-test"
#: For a process to load torch, and a device to compute for a moment. One that hangs is out of service too.
_PATIENCE_S = 300.0
#: After this a device that is out of service is examined again.
_AGAIN_S = 60.0
#: What is left of a GPU's free memory for what is not counted.
_SHARE = 0.95


class Attendant:
    """Looks after one device.

    Attributes
    ----------
    place : str
        Which device it is: as configured, and once it was examined ``cpu`` or ``cuda:N``.
    """

    def __init__(self, role: Role) -> None:
        section = role.config.work
        limits = Limits(
            at_once=section.jobs, child_bytes=section.child_bytes, growth_bytes=section.growth_bytes, reserve_bytes=section.reserve_bytes
        )
        self._ledger, self._most_difference, self.place = role.ledger, section.most_difference, section.device
        self.device: Device[process.Request, Product] = Device(
            process.run_job, limits, gauge=process.gauge, needs=self._need_of, tell=self._tell
        )

    @property
    def family(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.place.partition(":")[0]

    def into_service(self, stop: threading.Event) -> bool:
        """Examine the device, again and again while it fails; False when ``stop`` was set before it passed."""
        threading.Thread(target=self._end_with, args=(stop,), name="end-examination", daemon=True).start()
        written: str | None = None
        while not stop.is_set():
            report, error = self._examine()
            if stop.is_set():
                return False
            if error is None:
                self._write(report, None)
                self.place = report["device"]
                self.device.allot(int(report["free_bytes"] * _SHARE))
                return True
            log.error("device.out_of_service", device=self.place, code=error.full_code, sentence=error.sentence)
            if error.full_code != written:
                self._write(report, error)
            written = error.full_code
            stop.wait(_AGAIN_S)
        return False

    def _examine(self) -> tuple[dict[str, Any], CodedError | None]:
        try:
            return self.device.examine(_EXAMINATION, _PATIENCE_S, process.self_test, self.place, self._most_difference), None
        except CodedError as error:
            return {}, error

    def _write(self, report: Mapping[str, Any], error: CodedError | None) -> None:
        detail = dict(report)
        name = detail.pop("device", self.place)
        self._ledger.write(lambda tx: devices.record_examined(tx, platform.node(), self.place, {"is": name, **detail}, error))

    def _end_with(self, stop: threading.Event) -> None:
        stop.wait()
        self.device.cancel(_EXAMINATION)

    def _need_of(self, model: str) -> Need | None:
        with self._ledger.reading() as tx:
            return devices.need_of(tx, model, self.family)

    def _tell(self, model: str, detail: Mapping[str, Any]) -> None:
        try:
            self._ledger.write(lambda tx: devices.record_unloaded(tx, platform.node(), self.place, model, detail))
        except StorageError as error:
            log.warning("model.unload_not_recorded", code=error.full_code, sentence=error.sentence)
