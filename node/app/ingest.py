"""The door for files: a folder or a ZIP archive through the same desk as the socket."""

from __future__ import annotations

import getpass
import platform
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from node.app.desk import open_desk
from node.app.role import Role
from node.config import Config
from node.core.errors import InputError
from node.core.part10 import FileMeta, NoFileMeta, find_data_set, read_file_meta
from node.core.study import Arrival, Peer
from node.core.unreadable import UNREADABLE
from node.intake.presence import Presence
from node.intake.receive import Receiver

_CALLING_AE = "RADNODE-INGEST"
_DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR (PS3.10 section 8) lists instances and is none
_NOT_DICOM = "not a DICOM file with File Meta Information"


def ingest(config: Config, source: Path, console: Console) -> bool:
    """Take every DICOM file in ``source`` in; print what became of them.

    Returns
    -------
    bool
        Whether each that is DICOM was taken.

    Raises
    ------
    InputError
        If ``source`` is neither a folder nor a ZIP archive, or holds no file.
    """
    names = _names(source)
    with ExitStack() as stack:
        presence = Presence()
        desk = stack.enter_context(open_desk(Role(config, "ingest", stack, owner="listen"), presence))
        receiver = Receiver(desk)
        visit, peer = (
            str(uuid.uuid4()),
            Peer(calling_ae=_CALLING_AE, called_ae=config.node.ae_title, address=f"{getpass.getuser()}@{platform.node()}"),
        )
        receiver.open(visit, peer)
        outcomes: Counter[str] = Counter()
        with Progress(console=console) as progress:
            for content in progress.track(_contents(source, names), total=len(names), description="taking in"):
                outcomes[_take(receiver, visit, peer, content)] += 1
        receiver.close(visit, peer, "released", outcomes["0x0000"])
    console.print(_table(outcomes))
    return not [outcome for outcome in outcomes if outcome not in ("0x0000", _NOT_DICOM)]


def _names(source: Path) -> list[str]:
    if source.is_dir():
        names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    else:
        raise InputError(f"{source} is neither a folder nor a ZIP archive.", reason="no_folder")
    if not names:
        raise InputError(f"{source} holds no file.", reason="nothing_to_send")
    return names


def _contents(source: Path, names: list[str]) -> Iterator[bytes]:
    if source.is_dir():
        yield from ((source / name).read_bytes() for name in names)
        return
    with zipfile.ZipFile(source) as archive:
        yield from (archive.read(name) for name in names)


def _take(receiver: Receiver, visit: str, peer: Peer, content: bytes) -> str:
    """Take one file; return the status that a sender would have been answered, or that it is none."""
    meta, offset = _split(content)
    if meta is None:
        return _NOT_DICOM
    inside = _read_identity(content)
    arrival = Arrival(
        peer=peer,
        association_id=visit,
        sop_class_uid=str(inside.get("SOPClassUID") or meta.sop_class_uid),
        sop_instance_uid=str(inside.get("SOPInstanceUID") or meta.sop_instance_uid),
        transfer_syntax_uid=meta.transfer_syntax_uid,
    )
    reception = receiver.begin(arrival)
    reception.write(memoryview(content)[offset:])
    return f"0x{reception.finish():04X}"


def _split(content: bytes) -> tuple[FileMeta | None, int]:
    """The File Meta Information of a file, and where its data set begins; no meta when it is not a DICOM instance."""
    try:
        offset = find_data_set(content)
    except NoFileMeta:
        return None, 0
    meta = read_file_meta(content[:offset]) if offset is not None else None
    return (None, 0) if meta is None or meta.sop_class_uid == _DIRECTORY else (meta, offset or 0)


def _read_identity(content: bytes) -> Dataset:
    """What the data set says that it is, as a sender's command would say it; some files carry another identity in front."""
    try:
        return dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    except UNREADABLE:
        return Dataset()


def _table(outcomes: Counter[str]) -> Table:
    table = Table("answer", "files", caption="docs/operations.md explains the answers", min_width=50)
    for outcome, count in outcomes.most_common():
        table.add_row(outcome, str(count))
    return table
