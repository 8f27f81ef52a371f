"""The tables of config.toml that say who may come in, and how."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from node.config.fields import AETitle, Networks, Pattern, Port, Seconds, Section, Token


class ServerTlsSection(Section):
    """How the listener secures its connections (PS3.15 Annex B, BCP 195)."""

    certificate: Path
    key: Path
    authority: Path | None = None
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_need_an_authority(self) -> ServerTlsSection:
        if self.names and self.authority is None:
            raise ValueError("names are those of client certificates; give the authority that they must come from")
        return self


class ClientTlsSection(Section):
    """How we secure our connection to a destination."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None
    check_name: bool = True


class ListenSection(Section):
    """The socket that senders reach."""

    host: str = "0.0.0.0"  # noqa: S104 - a listener that senders in the hospital cannot reach is of no use
    port: Port = 11112
    called_ae: tuple[AETitle, ...] = ()
    any_called_ae: bool = False
    calling_ae: tuple[AETitle, ...] = ()
    addresses: Networks = ()
    unknown_storage: bool = True
    max_associations: Annotated[int, Field(ge=1)] = 64
    max_per_peer: Annotated[int, Field(ge=1)] = 64
    max_strangers: Annotated[int, Field(ge=1)] = 64
    max_pdu: Annotated[int, Field(ge=4096, le=1_048_576)] = 131072
    idle_s: Seconds = 60.0
    slowest_bytes_per_s: Annotated[int, Field(ge=0)] = 1000
    max_bytes_per_s_per_peer: Annotated[int, Field(ge=0)] = 0
    max_instance_bytes: Annotated[int, Field(ge=1)] = 8_000_000_000
    min_free_bytes: Annotated[int, Field(ge=0)] = 1_000_000_000
    fast: bool = True
    processes: Annotated[int, Field(ge=0, le=64)] = 0
    tls: ServerTlsSection | None = None


class TokenSection(Section):
    """One client that may store over HTTP, and how it shows who it is. The name stands where a sender's AE title would."""

    name: AETitle
    token: Token


class WebSection(Section):
    """The HTTP port: the Store transaction of DICOMweb (PS3.18 section 10.5)."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 8080
    tokens: tuple[TokenSection, ...] = ()
    max_requests: Annotated[int, Field(ge=1, le=256)] = 16
    max_request_bytes: Annotated[int, Field(ge=1)] = 32_000_000_000
    idle_s: Seconds = 60.0
    slowest_bytes_per_s: Annotated[int, Field(ge=0)] = 1000
    tls: ServerTlsSection | None = None

    @model_validator(mode="after")
    def _strangers_need_a_key(self) -> WebSection:
        knows_clients = self.tokens or (self.tls is not None and self.tls.authority is not None)
        if self.enabled and not knows_clients and not is_loopback(self.host):
            raise ValueError("anyone could store: give tokens or tls.authority, or listen on 127.0.0.1 only")
        return self


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class QuerySection(Section):
    """What is held may be asked for (Query/Retrieve)."""

    enabled: bool = True
    calling_ae: tuple[AETitle, ...] = ()
    most_matches: Annotated[int, Field(ge=1)] = 10_000


class ExpectedSection(Section):
    """A kind of series that a study must hold before it is complete."""

    modality: Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")]
    description: Pattern = ""
    instances: Annotated[int, Field(ge=1)] = 1
    series: Annotated[int, Field(ge=1)] = 1


class CalledSection(Section):
    """What holds for one AE title that we answer to; what is left out is as everywhere."""

    ae_title: AETitle
    calling_ae: tuple[AETitle, ...] = ()
    addresses: Networks = ()
    pipelines: tuple[str, ...] | None = None
    quiet_s: Seconds | None = None
    patience_s: Seconds | None = None
    expected_series: tuple[ExpectedSection, ...] = ()
    ask: str = ""
