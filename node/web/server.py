"""The HTTP server: uvicorn in a thread of its own, until it is stopped."""

from __future__ import annotations

import functools
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import structlog
import uvicorn
from fastapi import FastAPI

from node.core.errors import StorageError
from node.web.connection import Connection
from node.web.door import Door
from node.web.health import Health
from node.web.stow import Stow
from node.web.submission import Station

log = structlog.get_logger(__name__)

#: Connections for each request that may be under way: some rest between two requests, some are turned away.
_CONNECTIONS_PER_REQUEST = 8


class Server:
    """One HTTP port.

    Parameters
    ----------
    has_room : callable
        Whether anything may be taken.
    is_well : callable
        Whether the database answers.
    """

    def __init__(self, door: Door, station: Station, has_room: Callable[[], bool], is_well: Callable[[], bool], drain_s: float) -> None:
        self._door, self._drain_s = door, drain_s
        self._threads = ThreadPoolExecutor(door.max_requests, thread_name_prefix="store")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="health")
        stow, health = Stow(door, station, has_room, self._threads), Health(is_well, self._asking)
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
        app.add_api_route("/studies", stow.store, methods=["POST"], response_model=None)
        app.add_api_route("/studies/{study}", stow.store_study, methods=["POST"], response_model=None)
        app.add_api_route("/health", health.show, methods=["GET"], response_model=None)
        self._uvicorn = uvicorn.Server(_settings(app, door, drain_s))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._port: socket.socket | None = None

    def start(self) -> None:
        """Open the port; when this returns, senders are answered.

        Raises
        ------
        StorageError
            If the port cannot be had.
        """
        family = socket.AF_INET6 if ":" in self._door.host else socket.AF_INET
        try:
            self._port = socket.create_server((self._door.host, self._door.port), family=family, backlog=128)
        except OSError as error:
            raise StorageError(f"Port {self._door.port} cannot be opened: {error.strerror}.", reason="port") from error
        # asyncio sets this by itself only where the socket names its protocol, which create_server leaves out; without it every answer
        # waits 40 ms for a delayed acknowledgement. Accepted connections inherit it.
        self._port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread.start()
        while self._thread.is_alive() and not self._uvicorn.started:
            time.sleep(0.01)
        log.info("web.opened", host=self._door.host, port=self._door.port)

    def is_running(self) -> bool:
        """Whether senders are answered."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let requests that are under way come to their end for a while, and close the port."""
        self._uvicorn.should_exit = True
        self._thread.join(self._drain_s + 10.0)
        self._threads.shutdown()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        with suppress(SystemExit):  # its way to say that it could not start; is_running tells
            self._uvicorn.run(sockets=[self._port] if self._port else None)


def _settings(app: FastAPI, door: Door, drain_s: float) -> uvicorn.Config:
    tls = door.tls
    secured: dict[str, Any] = {"ssl_context_factory": lambda _config, _default: tls} if tls is not None else {}
    return uvicorn.Config(
        app,
        http=cast(Any, functools.partial(Connection, idle_s=door.idle_s)),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS_PER_REQUEST * door.max_requests,
        timeout_graceful_shutdown=int(drain_s),
        **secured,
    )
