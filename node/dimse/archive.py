"""A small receiving archive: keeps every object that it is sent, as one file each. For the demonstration, not for patients."""

from __future__ import annotations

from pathlib import Path

from pynetdicom import AE, evt

from node.core.uids import is_valid_uid
from node.dimse.contexts import support_storage


class Archive:
    """A Storage SCP that writes what it receives into ``folder``.

    Parameters
    ----------
    folder : Path
        Made if it is not there; objects lie in it as SOP-Instance-UID.dcm.
    """

    def __init__(self, folder: Path, ae_title: str, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port = folder, port
        self._ae = AE(ae_title)
        support_storage(self._ae, unknown=True)

    def start(self) -> None:
        """Open the port."""
        self._ae.start_server(("127.0.0.1", self._port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._on_store)])

    def stop(self) -> None:
        """Close the port."""
        self._ae.shutdown()

    def received(self) -> list[Path]:
        """The files that were received, sorted by name."""
        return sorted(self._folder.glob("*.dcm"))

    def _on_store(self, event: evt.Event) -> int:
        uid = str(event.file_meta.MediaStorageSOPInstanceUID)
        if not is_valid_uid(uid):
            return 0xC000
        unfinished = self._folder / f"{uid}.part"
        unfinished.write_bytes(event.encoded_dataset())
        unfinished.rename(self._folder / f"{uid}.dcm")
        return 0x0000
