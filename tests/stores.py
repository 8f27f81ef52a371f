"""An S3 server for the tests: moto's, a subprocess that keeps its objects in memory."""

import importlib.util
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from node.spool.bucket import Bucket, Place
from tests.peers import HOST, Peer, missing


class S3Server(Peer):
    """Moto's server."""

    name: ClassVar[str] = "moto"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def make_bucket(self) -> Place:
        """A new bucket, and how it is reached."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        return Place(
            bucket=name,
            prefix="node/one",
            endpoint=self.endpoint,
            region="us-east-1",
            access_key="test-access",
            secret_key="test-secret-key",
            connect_s=2.0,
            answer_s=5.0,
        )


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session."""
    if importlib.util.find_spec("moto") is None:
        missing("moto's server is not installed: pip install -e .[dev]")
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def place(s3: S3Server) -> Place:
    """A new, empty bucket."""
    return s3.make_bucket()


@pytest.fixture
def bucket(place: Place) -> Bucket:
    return Bucket(place)


def config_of(place: Place, folder: Path) -> str:
    """The table [store] for a bucket; its secret key lies in a file, as a hospital would have it."""
    secret = folder / "secret-key"
    secret.write_text(place.secret_key)
    lines = {"kind": "s3", "endpoint": place.endpoint, "bucket": place.bucket, "prefix": place.prefix, "region": place.region}
    text = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    return f'[store]\n{text}access_key = "{place.access_key}"\nsecret_key = {{ file = "{secret}" }}\nanswer_s = 5.0\n'
