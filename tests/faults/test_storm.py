"""A short storm in every run of the tests; the long one is `python -m tests.faults.storm`."""

from pathlib import Path

import pytest

from tests.faults.storm import Storm, Weather
from tests.peers import PostgreSQL

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

SHORT = Weather(studies=4, kills=8, gone_s=3.0, crashes=1, mean_s=0.8, drops=0.01)


def test_a_short_storm_on_sqlite(tmp_path: Path) -> None:
    print(Storm(tmp_path, SHORT).run(None))


def test_a_short_storm_on_postgresql(tmp_path: Path) -> None:
    with PostgreSQL(durable=True) as server:
        print(Storm(tmp_path, SHORT).run(server))
