"""A listener with the Query and Retrieve services, DCMTK's programs that ask it, and small studies to hold."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from node.app.query import query_services
from node.config import Config
from node.dimse.visit import Service
from tests.integration.dimse.station import Station
from tests.peers import HOST, find_tool

CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"


class Archive(Station):
    """A station that may be asked.

    Parameters
    ----------
    query, peers
        The table ``[query]`` and the tables ``[[peer]]`` of the configuration.
    """

    def __init__(self, folder: Path, *, query: dict | None = None, peers: Sequence[dict] = (), answer_s: float = 20, **door) -> None:
        super().__init__(folder, **door)
        self.config = Config.model_validate({"query": query or {}, "peer": peers, "deliver": {"connect_s": 5, "answer_s": answer_s}})

    def services(self) -> Sequence[Service]:
        return query_services(self.config, self.ledger, self.spool)

    def hold(self, *paths: Path) -> None:
        """Take files in by C-STORE, and wait for their rows."""
        answers = self.send(*paths)
        assert {answer.event for answer in answers.values()} == {"accept"}, answers
        self.flush()

    def find(self, *keys: str, root: str = "-S", options: Sequence[str] = ()) -> "Asking":
        """Ask by findscu: ``find("QueryRetrieveLevel=STUDY", "PatientName=*")``."""
        return _run("findscu", self, root, keys, [*options, "-X"])

    def move(self, *keys: str, to: str = "STORESCP", root: str = "-S", options: Sequence[str] = ()) -> "Asking":
        """Have it send by movescu to an AE title."""
        return _run("movescu", self, root, keys, ["-aem", to, *options])

    def get(self, *keys: str, root: str = "-S", options: Sequence[str] = ()) -> "Asking":
        """Fetch by getscu."""
        return _run("getscu", self, root, keys, ["--bit-preserving", *options])


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a program was answered: data sets that were found or fetched, and what it said."""

    returncode: int
    log: str
    files: list[Path]

    @property
    def found(self) -> list[Dataset]:
        return [dcmread(path, force=True) for path in self.files]

    @property
    def status(self) -> int:
        """Of the last response."""
        return int(re.findall(r"DIMSE Status +: 0x([0-9a-fA-F]{4})", self.log)[-1], 16)

    @property
    def statuses(self) -> list[int]:
        return [int(text, 16) for text in re.findall(r"DIMSE Status +: 0x([0-9a-fA-F]{4})", self.log)]

    def count(self, name: str) -> int:
        """A count of sub-operations in the last response: ``count("Completed")``."""
        return int(re.findall(rf"{name} Suboperations +: (\d+)", self.log)[-1])


def _run(program: str, archive: Archive, root: str, keys: Sequence[str], options: Sequence[str]) -> Asking:
    folder = archive.folder / f"{program}-{generate_uid()}"
    folder.mkdir()
    command = [find_tool(program), "-d", root, "-aet", "ASKER", "-aec", "RADNODE", *options, "-od", str(folder)]
    if program == "movescu":
        command = command[:-2]
    told = [part for key in keys for part in ("-k", key)]
    done = subprocess.run(
        [*command, *told, HOST, str(archive.port)], capture_output=True, timeout=60, check=False, env={**os.environ, "TCP_NODELAY": "1"}
    )
    log = (done.stdout + done.stderr).decode(errors="replace")
    return Asking(returncode=done.returncode, log=log, files=sorted(folder.iterdir()))


def make_instance(folder: Path, **attributes) -> Path:
    """Write a small instance; whatever is not given is drawn."""
    data_set = Dataset()
    values = {"SOPClassUID": SC, "SOPInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    values |= {"PatientID": "P1", "PatientName": "Doe^Jane", "Modality": "OT", "StudyDate": "20240131", "StudyTime": "101500"}
    for keyword, value in (values | attributes).items():
        setattr(data_set, keyword, value)
    path = folder / f"{data_set.SOPInstanceUID}.dcm"
    folder.mkdir(parents=True, exist_ok=True)
    data_set.ensure_file_meta()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.save_as(path, enforce_file_format=True)
    return path
