"""SQLite and the journal stay off network file systems."""

import pytest

from node.app.residence import check_place, faults_of_place
from node.config import Config, read_config
from node.core.errors import WrongPlace


def config_of(folder, database=""):
    (folder / "config.toml").write_text(f'[node]\ndata = "data"\ndatabase = "{database}"\n')
    return read_config(folder / "config.toml")


def mounts(folder):
    return f"24 1 254:0 / / rw - ext4 /dev/vda rw\n31 24 0:26 / {folder} rw - nfs4 nas:/export rw\n"


def test_sqlite_on_a_network_file_system_is_refused_in_words(tmp_path):
    with pytest.raises(WrongPlace, match=r"SQLite would lie on a network file system.*nfs4.*PostgreSQL") as caught:
        check_place(config_of(tmp_path), mounts(tmp_path))
    assert caught.value.full_code == "WRONG_PLACE.network_file_system"


def test_so_is_the_journal_whatever_the_database(tmp_path):
    with pytest.raises(WrongPlace, match="received on a network file system"):
        check_place(config_of(tmp_path, "postgresql://user@host/name"), mounts(tmp_path))


def test_radnode_check_is_told_of_both_at_once(tmp_path):
    ledger, journal = (fault.sentence for fault in faults_of_place(config_of(tmp_path), mounts(tmp_path)))
    assert ledger.startswith("SQLite would lie")
    assert journal.startswith("Instances would be received")
    assert list(faults_of_place(config_of(tmp_path))) == []


def test_a_local_disk_is_taken(tmp_path):
    check_place(config_of(tmp_path))
    assert isinstance(config_of(tmp_path), Config)
