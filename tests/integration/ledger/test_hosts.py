"""Which hosts may use a ledger together, and which store is its own."""

import pytest

from node.core.errors import WrongPlace
from node.ledger import hosts
from tests.integration.ledger.made import events, execute, rows


def enter(ledger, name, boot, alone=True):
    ledger.write(lambda tx: hosts.enter(tx, name, boot, alone=alone), patience_s=1)


def test_a_host_comes_and_comes_again(ledger):
    enter(ledger, "one", "boot-1")
    enter(ledger, "one", "boot-2")
    assert [row["boot"] for row in rows(ledger, "host")] == ["boot-2"]
    assert events(ledger) == ["host.joined"]


def test_a_second_host_is_refused_in_words_where_the_ledger_is_a_file(ledger):
    enter(ledger, "one", "boot-1")
    with pytest.raises(WrongPlace, match=r"the host one uses it.*PostgreSQL") as caught:
        enter(ledger, "two", "boot-2")
    assert caught.value.full_code == "WRONG_PLACE.second_host"
    assert [row["name"] for row in rows(ledger, "host")] == ["one"]


def test_another_container_of_the_same_machine_is_no_second_host(ledger):
    enter(ledger, "one", "boot-1")
    enter(ledger, "two", "boot-1")


def test_several_hosts_share_what_is_no_file(ledger):
    enter(ledger, "one", "boot-1", alone=False)
    enter(ledger, "two", "boot-2", alone=False)
    assert len(rows(ledger, "host")) == 2


def test_a_host_that_is_gone_is_replaced_and_one_that_renews_is_not(ledger):
    enter(ledger, "one", "boot-1")
    execute(ledger, "UPDATE host SET lease_until_at = first_at")
    with ledger.beating() as tx:
        hosts.renew(tx, "one")
    with pytest.raises(WrongPlace):
        enter(ledger, "two", "boot-2")
    execute(ledger, "UPDATE host SET lease_until_at = first_at")
    enter(ledger, "two", "boot-2")


class Marked:
    def __init__(self, name=None):
        self.name = name

    def marker(self):
        return self.name

    def mark(self, name):
        self.name = name


def settle_in(ledger, store, place="/data/spool"):
    ledger.write(lambda tx: hosts.settle_in(tx, "local", place, store.marker, store.mark))


def test_the_first_store_is_the_ledgers_own(ledger):
    store = Marked()
    settle_in(ledger, store)
    settle_in(ledger, store, "/moved/spool")
    assert [row["id"] for row in rows(ledger, "store")] == [store.name]
    assert events(ledger) == ["store.chosen"]


@pytest.mark.parametrize(("name", "words"), [(None, "no store of this ledger"), ("other", "the store of another ledger")])
def test_any_other_store_is_refused_in_words(ledger, name, words):
    settle_in(ledger, Marked())
    with pytest.raises(WrongPlace, match=words) as caught:
        settle_in(ledger, Marked(name), "/elsewhere")
    assert caught.value.full_code == "WRONG_PLACE.other_store"


def test_a_crash_between_the_mark_and_the_commit_is_made_up_for(ledger):
    store = Marked("marked-before-the-crash")
    settle_in(ledger, store)
    assert [row["id"] for row in rows(ledger, "store")] == ["marked-before-the-crash"]
