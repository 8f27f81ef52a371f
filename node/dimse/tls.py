"""TLS by the BCP 195 profiles (PS3.15 Annex B; RFC 9325): 1.2 or newer, forward secrecy, authenticated ciphers."""

from __future__ import annotations

import ssl
from pathlib import Path

from node.core.errors import ConfigError

#: For TLS 1.2 (RFC 9325 section 4.2); TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL"


def server_context(certificate: Path, key: Path, authority: Path | None) -> ssl.SSLContext:
    """How we answer: with our certificate, and asking for the client's where an authority is given.

    Raises
    ------
    ConfigError
        If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load(context, certificate, key, authority)
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(certificate: Path | None, key: Path | None, authority: Path, *, check_name: bool) -> ssl.SSLContext:
    """How we call: the peer's certificate must come from ``authority``, and carry the peer's host name where that is checked.

    Raises
    ------
    ConfigError
        If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    context.check_hostname = check_name
    _load(context, certificate, key, authority)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load(context: ssl.SSLContext, certificate: Path | None, key: Path | None, authority: Path | None) -> None:
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (certificate, key, authority) if path)
        raise ConfigError(f"The TLS files {files} cannot be used ({error.strerror or type(error).__name__}).") from error
