"""``GET /health``: whether the process lives and the database answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus

from fastapi.responses import JSONResponse

#: Anyone may ask, and as often as they like; the database is asked once in this time.
_REMEMBERS_S = 1.0


class Health:
    """Asks the database now and then."""

    def __init__(self, is_well: Callable[[], bool], threads: Executor) -> None:
        self._is_well, self._threads = is_well, threads
        self._turn = asyncio.Lock()
        self._asked_at, self._was_well = float("-inf"), False

    async def show(self) -> JSONResponse:
        """Say 200 when all is well, 503 when the database is away."""
        async with self._turn:
            if time.monotonic() - self._asked_at > _REMEMBERS_S:
                self._was_well = await asyncio.get_running_loop().run_in_executor(self._threads, self._is_well)
                self._asked_at = time.monotonic()
        if self._was_well:
            return JSONResponse({"database": "answers"})
        return JSONResponse({"database": "away"}, HTTPStatus.SERVICE_UNAVAILABLE)
