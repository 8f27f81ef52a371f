"""Bundles that call their code by the same name do not meet."""

import sys
from pathlib import Path

import pytest

from pipelines.isolation import OwnModules


def bundle(folder: Path, word: str) -> OwnModules:
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "what.py").write_text(f"WORD = {word!r}\n")
    (folder / "scripts" / "later.py").write_text(f"WORD = {word!r} + ' later'\n")
    return OwnModules(folder.resolve())


def test_each_bundle_sees_its_own_scripts_early_and_late(tmp_path: Path) -> None:
    for number in range(2):
        words = {}
        owners = {word: bundle(tmp_path / str(number) / word, word) for word in ("one", "other")}
        for word, own in owners.items():
            with own.importable():
                import scripts.what

                words[word] = scripts.what.WORD
        assert words == {"one": "one", "other": "other"}
        with owners["one"].importable():
            import scripts.later

            assert scripts.later.WORD == "one later"


def test_nothing_stays_behind(tmp_path: Path) -> None:
    own = bundle(tmp_path / "one", "one")
    path, prefix = list(sys.path), sys.pycache_prefix

    def fail() -> None:
        with own.importable():
            import scripts.what  # noqa: F401

            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert sys.path == path
    assert sys.pycache_prefix == prefix
    assert not [name for name in sys.modules if name.startswith("scripts")]


def test_a_planted_compiled_file_is_not_read(tmp_path: Path) -> None:
    own = bundle(tmp_path / "one", "one")
    cache = tmp_path / "one" / "scripts" / "__pycache__"
    cache.mkdir()
    (cache / f"what.{sys.implementation.cache_tag}.pyc").write_bytes(b"planted")
    with own.importable():
        import scripts.what

        assert scripts.what.WORD == "one"
    assert sorted(path.read_bytes() for path in cache.iterdir()) == [b"planted"]
