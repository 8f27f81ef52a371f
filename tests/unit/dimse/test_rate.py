"""How long a peer has to wait."""

from node.core.study import Peer
from node.dimse.rate import Bucket, Rates


def peer(title: str) -> Peer:
    return Peer(calling_ae=title, called_ae="RADNODE", address="10.0.0.1")


def test_one_second_s_worth_is_free_and_the_rest_takes_its_time() -> None:
    bucket = Bucket(1000)
    assert bucket.spend(1000) == 0.0
    assert 0.45 < bucket.spend(500) <= 0.5


def test_associations_of_one_peer_share_and_others_do_not() -> None:
    rates = Rates(1000)
    first, second, other = rates.enter(peer("CT")), rates.enter(peer("CT")), rates.enter(peer("MR"))
    assert first is second
    assert first is not other


def test_a_debt_outlives_the_association() -> None:
    rates = Rates(1000)
    first = rates.enter(peer("CT"))
    assert first is not None
    first.spend(5000)
    rates.leave(first)
    rates.enter(peer("MR"))
    assert rates.enter(peer("CT")) is first


def test_who_owes_nothing_and_has_gone_is_forgotten() -> None:
    rates = Rates(1000)
    first = rates.enter(peer("CT"))
    rates.leave(first)
    rates.enter(peer("MR"))
    assert rates.enter(peer("CT")) is not first


def test_without_a_rate_nobody_is_counted() -> None:
    rates = Rates(0)
    assert rates.enter(peer("CT")) is None
    rates.leave(None)
