"""Real peers for the tests: DCMTK, Orthanc and PostgreSQL as subprocesses on free loopback ports.

Nothing here is a stand-in. A program that is not installed skips the test with a sentence, and fails it when the
environment variable CI is set, so that CI can never become green by testing less.

No peer outlives the test process: each leads its own process group, which is killed at the end of the session, and
the kernel kills it when the test process dies first (``setpriv --pdeathsig``).
"""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil
import psycopg
import pytest

HOST = "127.0.0.1"
PACKAGES = {  # program -> Debian package
    "curl": "curl",
    "openssl": "openssl",
    "gcc": "gcc",
    "storescp": "dcmtk",
    "storescu": "dcmtk",
    "dcmsend": "dcmtk",
    "echoscu": "dcmtk",
    "findscu": "dcmtk",
    "Orthanc": "orthanc",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "java": "default-jre-headless",
    "javac": "default-jdk-headless",
    "chromium": "chromium",
    "setpriv": "util-linux",
}


def missing(sentence: str) -> None:
    """Skip the running test because something is not installed; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{sentence} (CI must have it: make peers)")
    pytest.skip(f"{sentence} (make peers installs it)")


def find_tool(name: str) -> str:
    """Find a program, also where a user's PATH does not look; skip or fail the test when it is not installed."""
    postgresql = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    places = [os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin:/sbin", *map(str, postgresql)]
    # The virtual environment has programs of the same names as DCMTK's (pynetdicom's storescu); those are not meant.
    path = ":".join(place for place in ":".join(places).split(":") if not (Path(place).parent / "pyvenv.cfg").exists())
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"{name} is not installed: it is in the Debian package {PACKAGES.get(name, name)}")
    return str(found)


def _ports() -> Iterator[int]:
    """Every port of this test process, over and over: processes that test side by side must not give out each other's."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    # Not by the common generator, which hypothesis sets to the same number everywhere.
    return cycle(random.SystemRandom().sample(range(15000 + 4250 * process, 15000 + 4250 * (process + 1)), 4250))


_PORTS = _ports()


def free_port() -> int:
    """Find a TCP port that nothing listens on, and that none of the last thousands of calls has found.

    Below 32768, where Linux begins to take ports for outgoing connections: a port from there could be taken between
    this call and its use, or while a peer that was killed is down.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def wait_until(condition: Any, *, seconds: float, sentence: str, pause: float = 0.02) -> Any:
    """Call ``condition`` until it returns something true, and return that; raise TimeoutError with ``sentence``."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{sentence} (waited {seconds} s)")
        time.sleep(pause)


class Peer:
    """A program that runs as a subprocess in a folder of its own.

    A subclass says what to run (``command``) and how to see that it answers (``is_ready``). A peer that was stopped
    or killed may be started again, on the same port and with what it had stored.

    Parameters
    ----------
    folder : Path
        Where the peer keeps its files and its log; created when it is missing.
    port : int, optional
        The port that it listens on; a free one is taken if none is given.
    """

    name: ClassVar[str] = "peer"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    orphan_signal: ClassVar[signal.Signals] = signal.SIGKILL  # what the kernel sends when the test process is gone
    running: ClassVar[set[Peer]] = set()

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the program wrote to its standard output and error, in all its lives."""
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Tell whether the program answers; here, whether its port takes a connection."""
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def start(self) -> Self:
        """Start the program and return when it answers."""
        assert self.process is None, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [find_tool("setpriv"), "--pdeathsig", self.orphan_signal.name.removeprefix("SIG"), *self.user(), "--", *self.command()]
        # Without TCP_NODELAY DCMTK, and so Orthanc, lets every response wait for a delayed acknowledgement of 40 ms.
        environment = {**os.environ, "TCP_NODELAY": "1"}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment, process_group=0
            )
        self.running.add(self)
        try:
            wait_until(self._has_started, seconds=60, sentence=f"{self.name} does not answer on port {self.port}")
        except BaseException as problem:
            problem.add_note(self.log[-2000:])
            self.kill()
            raise
        return self

    def user(self) -> list[str]:
        """Return the options of setpriv that say who runs the program; nobody special."""
        return []

    def stop(self) -> None:
        """End the program as its administrator would, and wait for it; kill it after ten seconds."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.kill()

    def kill(self) -> None:
        """Kill the program and all that it started, at once (SIGKILL)."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        self.running.discard(self)

    def pause(self) -> None:
        """Freeze the program (SIGSTOP): its port still takes connections, but nothing answers."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused program go on (SIGCONT)."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        self.kill()  # its folder goes too, so an orderly end, 3 s with Orthanc, would be for nothing

    def _has_started(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise ChildProcessError(f"{self.name} ended at once with exit code {self.process.returncode}")
        return self.is_ready()


class StoreScp(Peer):
    """DCMTK's storescp: takes every storage SOP class and transfer syntax, and writes the bytes exactly as they came.

    Parameters
    ----------
    folder : Path
        The instances land in ``folder/received``.
    ae_title : str
        Its AE title; storescp answers whatever it is called.
    options : str
        More options of storescp: ``--abort-after``, ``--refuse``, ``--sleep-during 2`` and so on.
    """

    name = "storescp"

    def __init__(self, folder: Path, *options: str, ae_title: str = "STORESCP", port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self.ae_title = ae_title
        self.options = options
        self.inbox = folder / "received"

    def command(self) -> list[str]:
        """Return the command line; one process per association, so that a slow one does not hold up the others."""
        self.inbox.mkdir(exist_ok=True)
        fixed = ["-v", "--fork", "-aet", self.ae_title, "-od", str(self.inbox), "--bit-preserving", "--accept-all", "--promiscuous"]
        return [find_tool("storescp"), *fixed, *self.options, str(self.port)]

    def received(self) -> list[Path]:
        """List the instances that are on its disk, in the order of their names."""
        return sorted(self.inbox.iterdir()) if self.inbox.exists() else []

    def store_requests(self) -> int:
        """Count the C-STORE requests it took, so that an instance that was sent twice is seen although it is one file."""
        return self.log.count("Received Store Request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of one instance that was offered with C-STORE.

    Parameters
    ----------
    sop_instance_uid : str
        The instance, as named in the request.
    status : int or None
        The status of the response; None when no response came.
    """

    sop_instance_uid: str
    status: int | None

    @property
    def succeeded(self) -> bool:
        """Whether the answer was 0x0000."""
        return self.status == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The outcome of one run of a C-STORE SCU.

    Parameters
    ----------
    returncode : int
        The exit code of the program.
    instances : tuple of Stored
        One for each request that was sent, in the order of sending; an instance that was never offered is not among them.
    log : str
        What the program said, message dumps included.
    """

    returncode: int
    instances: tuple[Stored, ...]
    log: str

    @property
    def statuses(self) -> list[int | None]:
        """The status of each request, in the order of sending."""
        return [stored.status for stored in self.instances]

    @property
    def acknowledged(self) -> set[str]:
        """The SOP Instance UIDs that were answered with 0x0000: from there on they are the receiver's."""
        return {stored.sop_instance_uid for stored in self.instances if stored.succeeded}

    @property
    def accepted(self) -> bool:
        """Whether the association was accepted."""
        return "Association Accepted" in self.log


def store_scu(
    host: str,
    port: int,
    files: Iterable[Path],
    calling: str = "STORESCU",
    called: str = "RADNODE",
    *options: str,
    program: str = "dcmsend",
    timeout: float = 100,
) -> Sending:
    """Send ``files`` with C-STORE and return when the program has ended.

    Parameters
    ----------
    host, port : str, int
        The receiver.
    files : iterable of Path
        DICOM files with a File Meta header; others are passed over by dcmsend.
    calling, called : str
        The AE titles of the sender and the receiver.
    options : str
        More options of the program.
    program : str
        dcmsend proposes each instance in its own transfer syntax, compressed or not; storescu proposes what its options say.
    timeout : float
        Seconds after which the program is killed and subprocess.TimeoutExpired is raised.
    """
    with StoreScu(host, port, files, calling, called, *options, program=program) as sender:
        return sender.wait(timeout)


class StoreScu:
    """A C-STORE SCU that sends while the test does something else; ``wait`` gives the outcome.

    Takes the arguments of `store_scu`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        files: Iterable[Path],
        calling: str = "STORESCU",
        called: str = "RADNODE",
        *options: str,
        program: str = "dcmsend",
    ) -> None:
        checks = ["-nuc"] if program == "dcmsend" else []
        arguments = ["-d", "-nh", *checks, "-aet", calling, "-aec", called, *options, host, str(port), *map(str, files)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would fill up and stop the sender
        self.process = subprocess.Popen(
            [find_tool("setpriv"), "--pdeathsig", "KILL", "--", find_tool(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TCP_NODELAY": "1"},
        )

    def wait(self, timeout: float = 100) -> Sending:
        """Wait for the end of the program and read what it said."""
        self.process.wait(timeout)
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")
        return Sending(returncode=self.process.returncode, instances=tuple(_read_messages(log)), log=log)

    def kill(self) -> None:
        """Kill the program at once; the receiver sees the connection break."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.wait()
        self._log.close()


def _read_messages(log: str) -> Iterator[Stored]:
    """Read the dumped C-STORE requests and responses out of a log of DCMTK.

    They are read from the messages and not from the report of dcmsend, which is not written when the association breaks,
    and that is when it matters which instances had been acknowledged.
    """
    offered: str | None = None
    for message in re.split(r"BEGIN|END DIMSE MESSAGE|(?==== (?:OUTGOING|INCOMING) DIMSE MESSAGE)", log):
        if "C-STORE RQ" in message:
            if offered is not None:
                yield Stored(sop_instance_uid=offered, status=None)
            offered = re.search(r"Affected SOP Instance UID +: (\S+)", message)[1]  # type: ignore[index]
        elif "C-STORE RSP" in message and offered is not None:
            yield Stored(sop_instance_uid=offered, status=int(re.search(r"DIMSE Status +: 0x([0-9a-fA-F]{4})", message)[1], 16))  # type: ignore[index]
            offered = None
    if offered is not None:
        yield Stored(sop_instance_uid=offered, status=None)


def echo_scu(host: str, port: int, calling: str = "ECHOSCU", called: str = "RADNODE", *options: str, timeout: float = 10) -> bool:
    """Verify with C-ECHO that an AE answers."""
    command = [find_tool("echoscu"), "-aet", calling, "-aec", called, "-to", str(int(timeout)), *options, host, str(port)]
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout + 5, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Orthanc(Peer):
    """Orthanc as the PACS: takes whatever is stored, pushes a study on demand, and answers storage commitment.

    Parameters
    ----------
    folder : Path
        Its configuration, storage and log.
    ae_title : str
        Its AE title.
    dicomweb : bool
        Load the DICOMweb plugin, at ``dicomweb_url``.
    settings : mapping
        More settings of Orthanc's configuration, or other values for the ones set here.
    """

    name = "orthanc"

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "PACS",
        dicomweb: bool = False,
        settings: dict[str, Any] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(folder, port=port)
        self.ae_title = ae_title
        self.http_port = free_port()
        self.url = f"http://{HOST}:{self.http_port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        self.dicomweb = dicomweb
        self.settings = settings or {}
        # Straight to the loopback address, whatever proxy the environment names.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def command(self) -> list[str]:
        """Write the configuration and return the command line."""
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self.configuration(), indent=1))
        return [find_tool("Orthanc"), str(path)]

    def configuration(self) -> dict[str, Any]:
        """Build the configuration."""
        configuration = {
            "Name": self.ae_title,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomCheckModalityHost": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,
            "StorageCommitmentReportsSize": 100,
            "SaveJobs": False,
            "StableAge": 1,
            "DicomModalitiesInDatabase": True,  # so that add_modality outlives a restart
            "DicomScpTimeout": 30,
        }
        if self.dicomweb:
            plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
            if not plugin.exists():
                missing(f"{plugin} is not installed: it is in the Debian package orthanc-dicomweb")
            configuration |= {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
        return configuration | self.settings

    def is_ready(self) -> bool:
        """Tell whether it answers HTTP and C-ECHO; the DICOM port opens about half a second after the process starts."""
        with suppress(OSError):
            self.request("GET", "/system")
            return echo_scu(HOST, self.port, called=self.ae_title, timeout=2)
        return False

    def request(self, method: str, path: str, body: bytes | dict[str, Any] | list[Any] | None = None, *, timeout: float = 60) -> Any:
        """Call Orthanc's REST API; the answer is parsed when it is JSON, bytes otherwise."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                content = response.read()
                return json.loads(content) if response.headers.get_content_subtype().endswith("json") else content
        except urllib.error.HTTPError as problem:
            with problem:
                problem.add_note(problem.read(2000).decode(errors="replace"))
            raise

    def add_modality(self, name: str, ae_title: str, port: int, host: str = HOST) -> None:
        """Make an AE known, so that Orthanc can push to it and report storage commitment to it."""
        self.request("PUT", f"/modalities/{name}", {"AET": ae_title, "Host": host, "Port": port})

    def upload(self, files: Iterable[Path]) -> list[str]:
        """Put files into Orthanc over HTTP and return Orthanc's own identifiers of the instances."""
        return [str(self.request("POST", "/instances", path.read_bytes())["ID"]) for path in files]

    def push(self, study_instance_uid: str, modality: str, *, timeout: float = 100) -> dict[str, Any]:
        """Send a study to a known AE with C-STORE and wait for it; an instance that is refused raises HTTPError.

        The answer counts the instances: ``InstancesCount`` and ``FailedInstancesCount``.
        """
        body = {"Resources": [self._find_study(study_instance_uid)], "Synchronous": True}
        answer: dict[str, Any] = self.request("POST", f"/modalities/{modality}/store", body, timeout=timeout)
        return answer

    def ask_for_commitment(self, modality: str, *instances: tuple[str, str]) -> str:
        """Ask a known AE to answer for instances (SOP Class UID, SOP Instance UID); return the transaction's UID."""
        body = {"DicomInstances": [list(pair) for pair in instances], "Timeout": 10}
        return str(self.request("POST", f"/modalities/{modality}/storage-commitment", body)["ID"])

    def commitment(self, transaction_uid: str) -> dict[str, Any]:
        """Return what is known of a transaction: ``Status`` (Pending, Success or Failure), ``Success`` and ``Failures``."""
        found: dict[str, Any] = self.request("GET", f"/storage-commitment/{transaction_uid}")
        return found

    def studies(self) -> list[str]:
        """List the Study Instance UIDs."""
        found = self.request("POST", "/tools/find", {"Level": "Study", "Query": {}, "Expand": True})
        return sorted(study["MainDicomTags"]["StudyInstanceUID"] for study in found)

    def instances(self, **query: str) -> list[dict[str, str]]:
        """Find instances by attributes of any level, ``Modality="SEG"`` for example.

        Each comes with its SOPInstanceUID, other attributes of the instance level that Orthanc indexes, and ``ID``,
        Orthanc's own identifier.
        """
        found = self.request("POST", "/tools/find", {"Level": "Instance", "Query": query, "Expand": True, "CaseSensitive": True})
        instances = [{**instance["MainDicomTags"], "ID": instance["ID"]} for instance in found]
        return sorted(instances, key=lambda instance: instance["SOPInstanceUID"])

    def file(self, sop_instance_uid: str) -> bytes:
        """Return the DICOM file of an instance as Orthanc stored it."""
        (instance,) = self.instances(SOPInstanceUID=sop_instance_uid)
        return bytes(self.request("GET", f"/instances/{instance['ID']}/file"))

    def delete_study(self, study_instance_uid: str) -> None:
        """Delete a study with all its instances."""
        self.request("DELETE", f"/studies/{self._find_study(study_instance_uid)}")

    def _find_study(self, study_instance_uid: str) -> str:
        (study,) = self.request("POST", "/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study_instance_uid}})
        return str(study)


class PostgreSQL(Peer):
    """A PostgreSQL server of its own, with its data in a temporary folder that goes with it.

    Parameters
    ----------
    durable : bool
        Whether a COMMIT waits for the disk. Off by default, for speed: a crash of the server may then take what was committed
        last with it.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # "fast": breaks connections off, then shuts down in order
    orphan_signal = signal.SIGQUIT  # "immediate": see crash

    def __init__(self, *, durable: bool = False, port: int | None = None) -> None:
        # PostgreSQL refuses to run as root, and the user that it runs as could not enter pytest's folders.
        super().__init__(Path(tempfile.mkdtemp(prefix="radnode-postgresql-")), port=port)
        self.durable = durable
        self._numbers = count(1)
        self._owner = _find_owner()
        if self._owner:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)

    def user(self) -> list[str]:
        """Return the options of setpriv that give up root."""
        return [f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--clear-groups"] if self._owner else []

    def command(self) -> list[str]:
        """Create the data folder the first time, and return the command line."""
        data = self.folder / "data"
        if not data.exists():
            create = [find_tool("initdb"), "-D", str(data), "-U", "radnode", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
            subprocess.run([find_tool("setpriv"), *self.user(), "--", *create], check=True, capture_output=True, cwd=self.folder)
        settings = {"listen_addresses": HOST, "unix_socket_directories": str(self.folder), "max_connections": "200"}
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [find_tool("postgres"), "-D", str(data), "-p", str(self.port), *options]

    def is_ready(self) -> bool:
        """Tell whether it takes queries."""
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the superuser, with a commit after every statement."""
        return psycopg.connect(host=HOST, port=self.port, user="radnode", dbname=database, autocommit=True, connect_timeout=2)

    def create_database(self) -> str:
        """Create an empty database and return its URL for SQLAlchemy."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://radnode@{HOST}:{self.port}/{name}"

    def pause(self) -> None:
        """Freeze the server with all its sessions: each leads a process group of its own."""
        for process in self._family():
            process.suspend()

    def resume(self) -> None:
        """Let a frozen server go on."""
        for process in self._family():
            process.resume()

    def _family(self) -> list[psutil.Process]:
        assert self.process is not None
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def crash(self) -> None:
        """Crash the server: connections break, nothing is written, and the next start recovers from the log.

        By its "immediate" shutdown (SIGQUIT) and not by SIGKILL, which would leave shared memory behind on the machine.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)
        self.kill()

    def remove(self) -> None:
        """Stop the server for good and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.remove()


def _find_owner() -> pwd.struct_passwd | None:
    """Find the user that PostgreSQL is to run as when the tests run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        missing("there is no user postgres to run PostgreSQL as: it comes with the Debian package postgresql")
        raise


@pytest.fixture
def store_scp(tmp_path: Path) -> Iterator[StoreScp]:
    """A running storescp."""
    with StoreScp(tmp_path / "storescp") as peer:
        yield peer


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A running, empty Orthanc."""
    with Orthanc(tmp_path / "orthanc") as peer:
        yield peer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A running PostgreSQL server, one for the whole session."""
    find_tool("postgres")
    with PostgreSQL() as peer:
        yield peer


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> str:
    """The URL of a new, empty database."""
    return postgresql.create_database()


def pytest_unconfigure() -> None:
    """Kill what a test left running."""
    for peer in list(Peer.running):
        peer.remove() if isinstance(peer, PostgreSQL) else peer.kill()
