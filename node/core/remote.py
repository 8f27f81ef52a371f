"""Whom we may call, and who is owed results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: How a destination is asked whether it has what it said Success to.
Confirm: TypeAlias = Literal["commitment", "query", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAE:
    """An Application Entity elsewhere, under the name that the configuration gives it."""

    name: str
    ae_title: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination(RemoteAE):
    """A remote AE that is owed results.

    Attributes
    ----------
    confirm : str
        How it is asked, behind its Success, whether it has them: by storage commitment, by C-FIND, or not at all.
    """

    confirm: Confirm = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDestination:
    """A DICOMweb server that is owed results.

    Attributes
    ----------
    url : str
        What ``/studies`` belongs behind.
    token, user, password : str
        How we show who we are: a bearer token (RFC 6750), or user and password (RFC 7617); empty for neither.
    confirm : str
        ``query`` is QIDO-RS here.
    """

    name: str
    url: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    confirm: Confirm = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderDestination:
    """Whoever sent the study."""

    name: str
    confirm: Confirm = "none"


#: What a parcel can be brought to.
Receiver: TypeAlias = Destination | WebDestination
