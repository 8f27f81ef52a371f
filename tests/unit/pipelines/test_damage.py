"""Whatever happens to the bytes of a file, the answer is a volume or a coded refusal."""

import random
from pathlib import Path

import pytest

from pipelines.errors import CodedError
from pipelines.facts import facts_of
from pipelines.result import SeriesFiles
from pipelines.series import read_headers, read_volume
from tests.phantoms import write_ct_chest

# pydicom remarks on the damage before it stumbles over it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def damaged(good: bytes, chance: random.Random) -> bytes:
    """Change up to four bytes between the preamble and the pixels, or lose the end."""
    content = bytearray(good)
    for _ in range(chance.choice([1, 1, 2, 4])):
        content[chance.randrange(132, len(content) - 640)] = chance.randrange(256)
    return bytes(content[: chance.randrange(140, len(content))] if chance.random() < 0.1 else content)


@pytest.mark.parametrize("seed", range(10))
def test_damage_is_refused_with_a_code(seed: int, tmp_path: Path) -> None:
    paths = write_ct_chest(tmp_path, shape=(4, 16, 20))
    files = SeriesFiles(series_instance_uid=str(read_headers(paths[:1])[0].SeriesInstanceUID), paths=tuple(paths))
    good, chance = paths[1].read_bytes(), random.Random(seed)
    refused = 0
    for _ in range(40):
        paths[1].write_bytes(damaged(good, chance))
        for read in (lambda: read_volume(files), lambda: facts_of(read_headers(paths))):
            try:
                read()
            except CodedError:
                refused += 1
    assert refused > 10
