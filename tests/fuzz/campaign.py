"""A run: listeners as processes, senders as threads, and the accounts at the end."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from node.core.uids import is_valid_uid
from node.ledger import audit, views
from node.ledger.engine import Ledger
from tests.fuzz.cases import Cases
from tests.fuzz.pieces import Original
from tests.fuzz.sender import Finding, Sender, check_echo
from tests.peers import free_port, wait_until
from tests.unit.intake.arrivals import sent_from

#: What a listener may take at most, whatever comes: eight senders at a time, each with its buffer and one hostile data set.
MOST_RSS = 900 << 20
_IDLE_S = 2.0
_SUSPECT = re.compile(r"Traceback|crashed|Exception in thread|\"association\.broke\"")


@dataclass
class Account:
    """What was seen."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    peak_rss: int = 0
    seconds: float = 0.0
    busy_s: float = 0.0

    @property
    def cases(self) -> int:
        """How many were played."""
        return sum(self.outcomes.values())

    def table(self) -> str:
        """Counts by family and outcome, as text."""
        lines = []
        for family in sorted({family for family, _ in self.outcomes}):
            found = {outcome: count for (name, outcome), count in sorted(self.outcomes.items()) if name == family}
            lines.append(f"{family:10} {sum(found.values()):8}  " + ", ".join(f"{outcome}: {count}" for outcome, count in found.items()))
        pace = self.cases / self.seconds if self.seconds else 0
        lines.append(f"{'all':10} {self.cases:8}  {self.seconds:.0f} s, {pace:.0f}/s")
        lines.append(f"listeners: {self.busy_s:.0f} s of processor time, peak RSS of one {self.peak_rss >> 20} MiB")
        lines += [f"FINDING: {finding}" for finding in self.findings[:50]]
        return "\n".join(lines)


class Target:
    """A listener in a process of its own."""

    def __init__(self, name: str, folder: Path, **options: object) -> None:
        self.name, self.folder, self.port = name, folder / name, free_port()
        self.tls = "certificate" in options
        self._options = {"idle_s": _IDLE_S, "max_associations": 100, "max_per_peer": 100} | options
        self.spool = self.folder / "spool"
        self.log = folder / f"{name}.log"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.fuzz.listener", str(self.folder), str(self.port), json.dumps(self._options)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        assert any(line == b"ready\n" for line in self.process.stdout), f"{self.name} did not start: {self.log.read_text()[-2000:]}"
        threading.Thread(target=self.process.stdout.read, daemon=True).start()  # or it would be held up by its own log
        self.watched = psutil.Process(self.process.pid)
        check_echo(self.port, self.spool, tls=self.tls)
        self.threads, self.files = self.rest()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def rest(self) -> tuple[int, int]:
        """How many threads and files it has when nobody is there."""
        before = None
        for _ in range(50):
            time.sleep(0.2)
            now = self.watched.num_threads(), self.watched.num_fds()
            if now == before:
                break
            before = now
        return now

    def faults(self) -> Iterable[str]:
        """What is wrong with it when everyone has gone."""
        if self.process.poll() is not None:
            yield f"{self.name}: the process ended with {self.process.returncode}"
            return
        with suppress(TimeoutError):
            wait_until(
                lambda: self.watched.num_threads() <= self.threads + 1 and self.watched.num_fds() <= self.files + 2, seconds=30, sentence=""
            )
        threads, files = self.watched.num_threads(), self.watched.num_fds()
        if threads > self.threads + 1 or files > self.files + 2:
            yield f"{self.name}: {threads} threads and {files} files are left of {self.threads} and {self.files}"
        try:
            check_echo(self.port, self.spool, tls=self.tls)
        except (Finding, OSError) as error:
            yield f"{self.name}: no C-ECHO at the end: {error}"

    def remains(self, kept: Sequence[tuple[str, str, Path]]) -> Iterable[str]:
        """What is wrong with what it has left behind, when it has ended."""
        if self.process.returncode != 0:
            yield f"{self.name}: ended with {self.process.returncode}"
        left = [path.name for path in (self.spool / "incoming").glob("*/*") if path.name != ".lock" and path.stat().st_size]
        if left:
            yield f"{self.name}: {len(left)} orphans in incoming: {left[:3]}"
        ledger = Ledger(f"sqlite:///{self.folder / 'ledger.db'}", actor="fuzz")
        with ledger.reading() as tx:
            rows = {(row["sop_instance_uid"], row["sha256"]): row["key"] for row in views.all_rows(tx, "instance")}
            broken = list(audit.broken_rows(tx))
        ledger.close()
        if broken:
            yield f"{self.name}: the audit chain is broken"
        lost = [uid for uid, digest, _ in kept if (uid, digest) not in rows]
        if lost:
            yield f"{self.name}: {len(lost)} of {len(kept)} answered Success have no row: {lost[:3]}"
        answered = {path for _, _, path in kept}
        unasked = [key for key in rows.values() if self.spool / key not in answered]
        if unasked:
            yield f"{self.name}: {len(unasked)} rows of what was never answered Success: {unasked[:3]}"
        suspect = [line for line in self.log.read_text(errors="replace").splitlines() if _SUSPECT.search(line)]
        if suspect:
            yield f"{self.name}: {len(suspect)} suspect lines in the log: {suspect[0][:600]}"


class Campaign:
    """Plays the cases of a seed against all targets, in turn."""

    def __init__(self, targets: Sequence[Target], cases: Cases, senders: int = 12) -> None:
        self._targets, self._cases, self._count = targets, cases, senders
        self._numbers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.account = Account()
        self._kept: dict[str, list[tuple[str, str, Path]]] = {target.name: [] for target in targets}

    def run(self, numbers: Iterable[int]) -> Account:
        """Play these cases."""
        began = time.monotonic()
        with ExitStack() as stack:
            for target in self._targets:
                stack.enter_context(target)
            for number in numbers:
                self._numbers.put(number)
            threads = [threading.Thread(target=self._work, args=(self._targets[n % len(self._targets)],)) for n in range(self._count)]
            for thread in threads:
                self._numbers.put(None)
                thread.start()
            while any(thread.is_alive() for thread in threads):
                self._watch()
                time.sleep(0.25)
            self.account.seconds = time.monotonic() - began
            for target in self._targets:
                self.account.findings += target.faults()
                with suppress(psutil.Error):
                    self.account.busy_s += sum(target.watched.cpu_times()[:2])
        for target in self._targets:
            self.account.findings += target.remains(self._kept[target.name])
        return self.account

    def _watch(self) -> None:
        for target in self._targets:
            with suppress(psutil.Error):
                self.account.peak_rss = max(self.account.peak_rss, target.watched.memory_info().rss)
        if self.account.peak_rss > MOST_RSS and not any("RSS" in finding for finding in self.account.findings):
            self._find(f"RSS of {self.account.peak_rss >> 20} MiB")

    def _find(self, sentence: str) -> None:
        with self._lock:
            self.account.findings.append(sentence)

    def _work(self, target: Target) -> None:
        sender = Sender(target.port, target.spool, tls=target.tls)
        played = 0
        while (number := self._numbers.get()) is not None:
            case = self._cases.make(number)
            try:
                outcome = sender.play(case)
                if (played := played + 1) % 500 == 0:
                    check_echo(target.port, target.spool, tls=target.tls)
            except (Finding, OSError) as error:
                outcome = "FINDING"
                self._find(f"case {number} ({case.family}, {case.kind}) at {target.name}: {error!r}")
                sender = Sender(target.port, target.spool, tls=target.tls)
            with self._lock:
                self.account.outcomes[case.family, outcome] += 1
                self.account.kinds[case.family, case.kind, outcome] += 1
                self._kept[target.name] += sender.kept
            for _, _, path in sender.kept:
                path.unlink(missing_ok=True)  # it was compared: a long run would fill the disk
            sender.kept = []
        sender.close()


def read_originals(folder: Path | None, most: int = 300_000) -> list[Original]:
    """Every file of a folder that a sender could offer, and that is not too large to be sent a thousand times."""
    found = []
    for path in sorted(folder.rglob("*.dcm")) if folder else []:
        if path.stat().st_size > most:
            continue
        with suppress(Exception):
            sent = sent_from(path)
            # A UID that is too short to be made unique would be sent twice, and its file is taken away in between.
            if sent is not None and is_valid_uid(sent.arrival.sop_instance_uid) and len(sent.arrival.sop_instance_uid) > 20:
                arrival = sent.arrival
                found.append(
                    Original(path.name, sent.data_set, arrival.sop_class_uid, arrival.sop_instance_uid, arrival.transfer_syntax_uid)
                )
    return found
