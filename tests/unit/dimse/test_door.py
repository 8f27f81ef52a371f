"""Who may associate, as a table: the peer, the door, and the reason that is given (PS3.8 Table 9-21)."""

from ipaddress import ip_network

import pytest

from node.core.study import Peer
from node.dimse.door import Door, Entrance, judge

PEER = Peer(calling_ae="CT1", called_ae="RADNODE", address="10.1.2.3")
OTHER = Peer(calling_ae="MR1", called_ae="RADNODE", address="10.1.2.4")


def open_door(**options) -> Door:
    return Door(host="", port=1, ae_title="RADNODE", **options)


def test_a_door_without_rules_lets_anyone_in():
    assert judge(open_door(), PEER, (), ()) is None


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        ({"called_ae": frozenset({"ELSE"})}, (1, 1, 7), "called AE"),
        ({"calling_ae": frozenset({"MR1"})}, (1, 1, 3), "calling AE"),
        ({"addresses": (ip_network("192.168.0.0/16"), ip_network("fd00::/8"))}, (1, 1, 1), "address"),
        ({"certificate_names": frozenset({"ct1.example"})}, (1, 1, 1), "certificate"),
        ({"max_associations": 0}, (2, 3, 2), "too many"),
        ({"max_per_peer": 0}, (2, 3, 2), "of this peer"),
    ],
)
def test_each_rule_rejects_with_its_own_reason(rule, code, words):
    rejection = judge(open_door(**rule), PEER, (), ())
    assert (rejection.result, rejection.source, rejection.diagnostic) == code
    assert words in rejection.reason


@pytest.mark.parametrize(
    "rule",
    [
        {"called_ae": frozenset({"RADNODE", "ELSE"})},
        {"calling_ae": frozenset({"CT1"})},
        {"addresses": (ip_network("192.168.0.0/16"), ip_network("10.1.0.0/16"))},
        {"certificate_names": frozenset({"ct1.example"})},
        {"max_associations": 3},
        {"max_per_peer": 2},
    ],
)
def test_whoever_meets_the_rule_comes_in(rule):
    assert judge(open_door(**rule), PEER, {"ct1.example"}, [PEER, OTHER]) is None


def test_what_is_permanent_is_said_before_what_will_pass():
    door = open_door(max_associations=0, calling_ae=frozenset({"MR1"}))
    assert judge(door, PEER, (), ()).result == 1


def test_only_the_associations_of_the_same_peer_count_for_it():
    door = open_door(max_per_peer=1)
    assert judge(door, PEER, (), [OTHER]) is None
    assert judge(door, PEER, (), [PEER]) is not None


@pytest.mark.parametrize(
    ("rule", "entrance", "words"),
    [
        ({}, Entrance(), None),
        ({"calling_ae": frozenset({"MR1"})}, Entrance(), "calling AE title not recognised"),
        ({}, Entrance(calling_ae=frozenset({"CT1"})), None),
        ({}, Entrance(calling_ae=frozenset({"MR1"})), "calling AE title not allowed to call this title"),
        ({"calling_ae": frozenset({"MR1"})}, Entrance(calling_ae=frozenset({"CT1"})), None),
        ({"calling_ae": frozenset({"CT1"})}, Entrance(calling_ae=frozenset({"MR1"})), "not allowed to call this title"),
        ({}, Entrance(addresses=(ip_network("10.0.0.0/8"),)), None),
        ({}, Entrance(addresses=(ip_network("192.168.0.0/16"),)), "address not allowed to call this title"),
        ({"addresses": (ip_network("192.168.0.0/16"),)}, Entrance(addresses=(ip_network("10.0.0.0/8"),)), None),
        ({"addresses": (ip_network("192.168.0.0/16"),)}, Entrance(calling_ae=frozenset({"CT1"})), "address not allowed"),
        ({"certificate_names": frozenset({"ct1"})}, Entrance(calling_ae=frozenset({"CT1"})), "certificate"),
        ({"called_ae": frozenset({"ELSE"})}, Entrance(calling_ae=frozenset({"CT1"})), "called AE"),
    ],
)
def test_a_title_may_have_an_entrance_of_its_own(rule, entrance, words):
    rejection = judge(open_door(entrances={"RADNODE": entrance}, **rule), PEER, (), ())
    assert rejection is None if words is None else words in rejection.reason


def test_the_entrance_of_one_title_is_not_that_of_another():
    door = open_door(entrances={"RADNODE_CHEST": Entrance(calling_ae=frozenset({"MR1"}))})
    assert judge(door, PEER, (), ()) is None
