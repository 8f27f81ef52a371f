"""``radnode demo``: a node, a sender and a receiving archive on this machine, and one study through all of them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pydicom import dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

import pipelines
from node.config import Config, read_config
from node.core.errors import CodedError, InputError, PeerUnavailable, StorageError
from node.core.remote import Destination
from node.core.result import Answer
from node.dimse import scu
from node.dimse.archive import Archive
from node.dimse.associate import Caller
from node.encode.preview import draw_overlay
from node.ledger import views
from node.ledger.engine import Ledger
from node.show import findings_text, table_of
from node.spoken import STEPS
from pipelines.phantom import make_chest_ct, write_datasets

_PATIENCE_S = 900.0
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

_CONFIG = """\
# Written by radnode demo.
[node]
ae_title = "RADNODE"
data = "node"
database = "sqlite:///{database}"
[log]
format = "json"
[listen]
host = "127.0.0.1"
port = {node_port}
min_free_bytes = 100_000_000
[assemble]
quiet_s = 1.5
sweep_s = 0.3
[pipelines]
folder = "{pipelines}"
models = "{models}"
enabled = ["ct_lungs"]
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs_port}
"""


class Demo:
    """One run of the demonstration.

    Parameters
    ----------
    out : Path
        Gets ``pacs/*.dcm`` (what the archive received), ``overlay.png``, ``radnode.db`` and ``node.log``.
    """

    def __init__(self, out: Path, console: Console) -> None:
        self._out, self._console = out.resolve(), console
        self._node_port, self._pacs_port = _free_ports()

    def run(self, folder: Path | None) -> bool:
        """Send the study in ``folder``, or a phantom, through the node.

        Returns
        -------
        bool
            True when it came to an outcome: results, or a stated reason why there are none.
        """
        self._clear()
        files = self._study(folder)
        config = self._write_config()
        archive = Archive(self._out / "pacs", "PACS", self._pacs_port)
        with ExitStack() as stack:
            progress = stack.enter_context(_progress(self._console))
            archive.start()
            stack.callback(archive.stop)
            node = stack.enter_context(self._node())
            answers = self._send(files, progress, node)
            outcome = self._wait(config, progress, node)
        self._report(config, answers, archive, files)
        return outcome

    def _clear(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        for name in ("pacs", "node", "study"):
            shutil.rmtree(self._out / name, ignore_errors=True)
        for pattern in ("radnode.db*", "overlay*.png", "node.log", "config.toml"):
            for leftover in self._out.glob(pattern):
                leftover.unlink()

    def _study(self, folder: Path | None) -> list[scu.Outgoing]:
        if folder is None:
            self._console.print("No folder was named: a chest phantom is made by code (it is no patient).")
            folder = self._out / "study"
            folder.mkdir(parents=True)
            write_datasets(make_chest_ct(study_name="radnode demo").datasets, folder)
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; name one that holds DICOM files.", reason="no_folder")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        (self._out / "study").mkdir(exist_ok=True)
        found = [scu.read_outgoing(path) for path in paths]
        again = [scu.read_outgoing(scu.restate(outgoing.path, self._out / "study")) for outgoing in found if outgoing is not None]
        files = [outgoing for outgoing in again if outgoing is not None]
        skipped = len(paths) - len(files)
        if skipped:
            self._console.print(f"{skipped} of {len(paths)} files are not DICOM files with File Meta Information and cannot be sent.")
        if not files:
            raise InputError(f"{folder} holds no DICOM file that can be sent.", reason="nothing_to_send")
        return files

    def _write_config(self) -> Config:
        home = Path(pipelines.__file__).parent
        text = _CONFIG.format(
            database=self._out / "radnode.db",
            node_port=self._node_port,
            pacs_port=self._pacs_port,
            pipelines=home,
            models=home.parent / "models",
        )
        path = self._out / "config.toml"
        path.write_text(text, encoding="utf-8")
        return read_config(path)

    @contextmanager
    def _node(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``radnode serve``, and drain it at the end."""
        command = [sys.executable, "-m", "node", "serve", "--config", str(self._out / "config.toml")]
        with (self._out / "node.log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as node:
            try:
                yield node
            finally:
                node.terminate()
                node.wait(60)

    def _send(self, files: Sequence[scu.Outgoing], progress: Progress, node: subprocess.Popen[bytes]) -> dict[str, Answer]:
        caller = Caller(ae_title="MODALITY", connect_s=5.0, answer_s=60.0)
        us = Destination(name="radnode", ae_title="RADNODE", host="127.0.0.1", port=self._node_port)
        task = progress.add_task("starting the node", total=None)
        self._wait_until_answering(caller, us, node)
        progress.update(task, description="C-STORE to the node", total=len(files))
        answers = scu.store(caller, us, files, stop_at_failure=False, told=lambda _answer: progress.advance(task))
        progress.update(task, completed=len(files))
        return answers

    def _wait_until_answering(self, caller: Caller, us: Destination, node: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                return scu.verify(caller, us)
            except PeerUnavailable as error:
                if node.poll() is not None or time.monotonic() > deadline:
                    raise StorageError(f"The node did not start; {self._out / 'node.log'} says why.", reason="start") from error
                time.sleep(0.2)

    def _wait(self, config: Config, progress: Progress, node: subprocess.Popen[bytes]) -> bool:
        """Show each new step until the node is at rest."""
        task, last, deadline = progress.add_task("waiting", total=None), 0, time.monotonic() + _PATIENCE_S
        with closing(Ledger(config.database_url, actor="demo")) as ledger:
            while time.monotonic() < deadline and node.poll() is None:
                with ledger.reading() as tx:
                    rows, at_rest = views.since(tx, last), views.is_at_rest(tx)
                for row in rows:
                    last = row.n
                    progress.update(task, description=STEPS.get(row.event, (0, row.event))[1])
                if at_rest and not rows and last:
                    progress.update(task, description="at rest", total=1, completed=1)
                    return True
                time.sleep(0.3)
        return False

    def _report(self, config: Config, answers: dict[str, Answer], archive: Archive, files: Sequence[scu.Outgoing]) -> None:
        with closing(Ledger(config.database_url, actor="demo")) as ledger, ledger.reading() as tx:
            rows = views.since(tx, 0)
        self._console.print(table_of(rows, "History, from the audit log"))
        refused = [answer for answer in answers.values() if answer.event != "accept"]
        self._say(f"{len(answers) - len(refused)} of {len(files)} instances were answered Success.")
        for row in rows:
            if row.event == "job.finished":
                self._say(f"Measured: {findings_text(row.detail)}", "green")
            elif row.code:
                self._say(
                    f"{row.event} {row.code}: {row.detail.get('sentence', '')}", "yellow"
                ) if row.event != "instance.refused" else None
        received = archive.received()
        self._say(f"The archive received {len(received)} object{'s' if len(received) != 1 else ''}.")
        for path in received:
            header = dcmread(path, stop_before_pixels=True)
            self._say(f"  {header.Modality}  {header.SeriesDescription}  {path}")
        self._draw(received, files)
        self._say(f"Everything is in {self._out}; any SQL tool opens radnode.db.")

    def _draw(self, received: Sequence[Path], files: Sequence[scu.Outgoing]) -> None:
        """Draw each Segmentation; the reports where there is none."""
        classes = {path: dcmread(path, stop_before_pixels=True).SOPClassUID for path in received}
        drawn = [path for path, sop_class in classes.items() if sop_class == _SEGMENTATION] or list(classes)
        if not drawn:
            self._say("No result was made, so there is no picture; the history says why.", "yellow")
        for number, path in enumerate(drawn, 1):
            picture = self._out / ("overlay.png" if number == 1 else f"overlay-{number}.png")
            try:
                draw_overlay([file.path for file in files], path, picture)
                self._say(f"A look at the result: {picture}", "green")
            except CodedError as error:
                self._say(f"No picture could be drawn: {error}", "yellow")

    def _say(self, sentence: str, style: str = "") -> None:
        self._console.print(Text(sentence, style=style), soft_wrap=True)


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
