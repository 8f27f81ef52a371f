"""The port: where connections come in."""

from __future__ import annotations

import copy
import socket
from typing import Any

from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer


class Contexts(list[PresentationContext]):
    """The contexts that are supported; each association gets its own, of which the UIDs, which nobody can change, are shared."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> list[PresentationContext]:
        return [_own(context) for context in self]


def _own(context: PresentationContext) -> PresentationContext:
    own = copy.copy(context)
    own._transfer_syntax = list(context._transfer_syntax)  # noqa: SLF001 - its setter would look at each UID again
    return own


class Port(ThreadedAssociationServer):
    """A port: one of its own, or one that was opened before and is shared with other listeners.

    Parameters
    ----------
    inherited : socket, optional
        Listens already; whoever of the listeners is free takes the next connection from it.
    """

    request_queue_size = 128

    def __init__(self, *arguments: Any, inherited: socket.socket | None, **options: Any) -> None:
        self._inherited = inherited
        super().__init__(*arguments, **options)
        self.contexts = Contexts(self.contexts)  # to copy what is in them takes several milliseconds for every connection

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; its TLS handshake is left to its own thread, where a slow peer holds up nobody else."""
        connection, address = self.socket.accept()  # type: ignore[union-attr]
        connection.setblocking(True)
        if self.ssl_context is None:
            return connection, address
        return self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def server_bind(self) -> None:
        """Take the inherited socket, or bind one."""
        if self._inherited is None:
            super().server_bind()
            return
        if self.socket is not None:
            self.socket.close()
        self.socket = self._inherited
        self.socket.setblocking(False)  # another may have been faster
        self.server_address = self.socket.getsockname()
