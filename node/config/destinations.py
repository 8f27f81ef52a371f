"""The tables of config.toml that say whom we may call, and who is owed results."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, SecretStr, Tag, model_validator

from node.config.doors import ClientTlsSection, is_loopback
from node.config.fields import AETitle, Name, Port, Secret, Section
from node.core.remote import Confirm


class RemoteSection(Section):
    """One remote AE that we may call."""

    name: Name
    ae_title: AETitle
    host: Annotated[str, Field(min_length=1)]
    port: Port
    tls: ClientTlsSection | None = None


class PeerSection(RemoteSection):
    """One remote AE that is owed none: it may be asked, or be answered on an association of our own."""


class DicomDestinationSection(RemoteSection):
    """One remote AE that is owed results, by C-STORE; in shadow mode it would be."""

    kind: Literal["dicom"] = "dicom"
    confirm: Confirm = "query"
    shadow: bool = False


class StowDestinationSection(Section):
    """One server that is owed results, by the Store transaction of DICOMweb (PS3.18 section 10.5)."""

    name: Name
    kind: Literal["stow"]
    url: str
    token: Secret = SecretStr("")
    user: str = ""
    password: Secret = SecretStr("")
    confirm: Literal["query", "none"] = "query"
    shadow: bool = False
    tls: ClientTlsSection | None = None

    @model_validator(mode="after")
    def _url_is_one_and_keeps_secrets(self) -> StowDestinationSection:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("url is http:// or https://, a host and a path, the one that /studies belongs behind; without a user")
        has_secret = bool(self.token.get_secret_value() or self.user)
        if parts.scheme == "http" and (self.tls is not None or (has_secret and not is_loopback(parts.hostname))):
            raise ValueError("what tls, token or password is to protect would go unencrypted; write https://")
        if self.token.get_secret_value() and self.user:
            raise ValueError("give a token, or user and password, not both")
        return self


class SenderDestinationSection(Section):
    """Results go to whoever sent the study, if it is a peer that we know."""

    name: Name
    kind: Literal["sender"]
    confirm: Confirm = "query"
    shadow: bool = False


#: By what stands for ``kind``.
DESTINATIONS: dict[str, type[Section]] = {
    "dicom": DicomDestinationSection,
    "stow": StowDestinationSection,
    "sender": SenderDestinationSection,
}


def _kind_of(value: Any) -> str:
    return str(value.get("kind", "dicom") if isinstance(value, dict) else getattr(value, "kind", ""))


DestinationSection: TypeAlias = Annotated[
    Annotated[DicomDestinationSection, Tag("dicom")]
    | Annotated[StowDestinationSection, Tag("stow")]
    | Annotated[SenderDestinationSection, Tag("sender")],
    Discriminator(_kind_of, custom_error_type="kind", custom_error_message='kind is "dicom", "stow" or "sender"'),
]
