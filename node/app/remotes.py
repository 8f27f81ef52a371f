"""Whom we call, and how: the remote AEs of the configuration."""

from __future__ import annotations

from ssl import SSLContext

from node.config import Config, DicomDestinationSection, PeerSection, SenderDestinationSection, StowDestinationSection
from node.core.remote import Destination, Receiver, RemoteAE, SenderDestination, WebDestination
from node.dimse.associate import Caller
from node.dimse.tls import client_context


def caller_of(config: Config) -> Caller:
    """Who we are when we call a remote AE."""
    return Caller(ae_title=config.node.ae_title, connect_s=config.deliver.connect_s, answer_s=config.deliver.answer_s)


def destinations_of(config: Config) -> dict[str, Receiver | SenderDestination]:
    """The configured destinations, by name."""
    return {found.name: _destination_of(found) for found in config.destination}


def _destination_of(
    found: DicomDestinationSection | StowDestinationSection | SenderDestinationSection,
) -> Receiver | SenderDestination:
    match found:
        case DicomDestinationSection():
            return Destination(name=found.name, ae_title=found.ae_title, host=found.host, port=found.port, confirm=found.confirm)
        case StowDestinationSection():
            secrets = {"token": found.token.get_secret_value(), "password": found.password.get_secret_value()}
            return WebDestination(name=found.name, url=found.url.rstrip("/"), user=found.user, confirm=found.confirm, **secrets)
        case SenderDestinationSection():
            return SenderDestination(name=found.name, confirm=found.confirm)


def remote_of(found: PeerSection | DicomDestinationSection) -> RemoteAE:
    """A remote AE of the configuration."""
    return RemoteAE(name=found.name, ae_title=found.ae_title, host=found.host, port=found.port)


def remotes_of(config: Config) -> dict[str, RemoteAE]:
    """Everyone whom we may call, by AE title; of several with one title the first, a peer before a destination."""
    return {found.ae_title: remote_of(found) for found in reversed(config.remotes)}


def tls_of(config: Config) -> dict[str, SSLContext]:
    """How the connections to remote AEs are secured, by name, where they are.

    Raises
    ------
    ConfigError
        If a certificate cannot be used.
    """
    found = {remote.name: remote.tls for remote in (*config.peer, *config.destination) if not isinstance(remote, SenderDestinationSection)}
    return {
        name: client_context(tls.certificate, tls.key, tls.authority, check_name=tls.check_name)
        for name, tls in found.items()
        if tls is not None
    }
