"""The door: who may associate, judged before anything is negotiated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from ssl import SSLContext

from node.core.study import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Who may call one of our AE titles, instead of who may call any: AE titles and networks; as everywhere where it is empty."""

    calling_ae: frozenset[str] = frozenset()
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who may come in, how many at a time, and what they may do.

    Attributes
    ----------
    called_ae : frozenset of str
        The titles that we answer to; any when it is empty.
    calling_ae, addresses, certificate_names : collections
        Who may call: AE titles, networks, and names of client certificates (Common Name or DNS name); anyone where it is empty.
    entrances : mapping
        Titles that we answer to -> who may call them, where that is another than the rule.
    max_associations, max_per_peer : int
        At a time, in all and from one AE at one address.
    idle_s : float
        An association without traffic is ended after this; so is a pause within a message.
    max_strangers : int
        Connections that have not asked for an association yet; for one more, the oldest of them is dropped.
    slowest, fastest : int
        Bytes per second below which a message is given up, and above which a peer is made to wait; 0 for neither.
    largest : int
        Bytes of one data set.
    fast : bool
        Receive from the socket into the file; otherwise by pynetdicom's own path.
    tls : SSLContext or None
        How the connection is secured.
    """

    host: str
    port: int
    ae_title: str
    called_ae: frozenset[str] = frozenset()
    calling_ae: frozenset[str] = frozenset()
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    certificate_names: frozenset[str] = frozenset()
    entrances: Mapping[str, Entrance] = field(default_factory=dict)
    unknown_storage: bool = True
    max_associations: int = 64
    max_per_peer: int = 64
    max_pdu: int = 131072
    idle_s: float = 60.0
    max_strangers: int = 64
    slowest: int = 1000
    fastest: int = 0
    largest: int = 8_000_000_000
    fast: bool = True
    tls: SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21): result, source and reason, and what we say of it in words."""

    result: int
    source: int
    diagnostic: int
    reason: str


_CALLING_AE = Rejection(1, 1, 3, "calling AE title not recognised")
_CALLED_AE = Rejection(1, 1, 7, "called AE title not recognised")
_ADDRESS = Rejection(1, 1, 1, "address not allowed")
_CALLING_AE_HERE = Rejection(1, 1, 3, "calling AE title not allowed to call this title")
_ADDRESS_HERE = Rejection(1, 1, 1, "address not allowed to call this title")
_CERTIFICATE = Rejection(1, 1, 1, "client certificate not allowed")
_TOO_MANY = Rejection(2, 3, 2, "too many associations")
_TOO_MANY_OF_ONE = Rejection(2, 3, 2, "too many associations of this peer")


def judge(door: Door, peer: Peer, certificate_names: Collection[str], present: Collection[Peer]) -> Rejection | None:
    """Say why ``peer`` may not come in, or None when it may.

    Parameters
    ----------
    certificate_names : collection of str
        What the client's verified certificate calls it; empty without one.
    present : collection of Peer
        Everyone who has an association now, without this one.
    """
    entrance = door.entrances.get(peer.called_ae, Entrance())
    addresses, calling_ae = entrance.addresses or door.addresses, entrance.calling_ae or door.calling_ae
    permanent = (
        (
            _ADDRESS_HERE if entrance.addresses else _ADDRESS,
            bool(addresses) and not any(ip_address(peer.address) in network for network in addresses),
        ),
        (_CERTIFICATE, bool(door.certificate_names) and not door.certificate_names & set(certificate_names)),
        (_CALLED_AE, bool(door.called_ae) and peer.called_ae not in door.called_ae),
        (_CALLING_AE_HERE if entrance.calling_ae else _CALLING_AE, bool(calling_ae) and peer.calling_ae not in calling_ae),
    )
    of_one = sum((other.calling_ae, other.address) == (peer.calling_ae, peer.address) for other in present)
    transient = ((_TOO_MANY, len(present) >= door.max_associations), (_TOO_MANY_OF_ONE, of_one >= door.max_per_peer))
    return next((rejection for rejection, holds in (*permanent, *transient) if holds), None)
