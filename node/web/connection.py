"""One connection: uvicorn's own, which also keeps the client's certificate at hand and does not wait for a request for ever."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from node.core.certificate import names_of


class Connection(H11Protocol):
    """Speaks HTTP/1.1 by h11, which bounds the size of what it has not understood yet.

    Parameters
    ----------
    idle_s : float
        A connection on which no request begins for this long is closed, and one on which the rest of a refused request still comes.
    """

    def __init__(self, *arguments: Any, idle_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle_s = idle_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, "certificate_names": names_of(secured.getpeercert() if secured else None)}
        self._expect_request()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        self.loop.call_later(self._idle_s, self._close_if_none_came, self.cycle)

    def _close_if_none_came(self, latest: RequestResponseCycle | None) -> None:
        if self.cycle is latest and not self.transport.is_closing():
            self.transport.close()
