"""The Store transaction (PS3.18 section 10.5): the body goes from the socket to the disk piece by piece, and is never held."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import replace
from http import HTTPStatus

import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from node.core.study import Peer
from node.web.answer import answer, answer_refused
from node.web.door import Door, boundary_of, identify
from node.web.refused import Refused
from node.web.submission import Errand, Station, Submission

log = structlog.get_logger(__name__)


class Stow:
    """Answers Store requests.

    Parameters
    ----------
    has_room : callable
        Whether anything may be taken.
    threads : Executor
        Where the disk is waited for; each request is in one of them at a time.
    """

    def __init__(self, door: Door, station: Station, has_room: Callable[[], bool], threads: Executor) -> None:
        self._door, self._station, self._has_room, self._threads = door, station, has_room, threads
        self._open = 0

    async def store(self, request: Request) -> Response:
        """``POST /studies``: instances of any study."""
        return await self._answer(request, "")

    async def store_study(self, request: Request, study: str) -> Response:
        """``POST /studies/{study}``: instances of this one only."""
        return await self._answer(request, study)

    async def _answer(self, request: Request, study: str) -> Response:
        visit, shown = str(uuid.uuid4()), frozenset[str](request.state.certificate_names)
        address = " ".join([request.client.host if request.client else "", *sorted(shown)])
        peer = Peer(calling_ae="", called_ae=self._door.ae_title, address=address)
        try:
            peer = replace(peer, calling_ae=identify(self._door, request.headers, shown))
            boundary = boundary_of(self._door, request.headers, study)
            errand = Errand(id=visit, peer=peer, boundary=boundary, study_instance_uid=study, largest=self._door.largest_instance)
            submission = Submission(self._station, errand)
            self._check_load()
        except Refused as refused:
            self._station.reject(visit, peer, refused.sentence)
            return answer_refused(refused)
        return await self._take(request, submission, errand)

    def _check_load(self) -> None:
        if self._open >= self._door.max_requests:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at a time; send again later.")
        if not self._has_room():
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The disk is nearly full; make room, then send again.")

    async def _take(self, request: Request, submission: Submission, errand: Errand) -> Response:
        self._open += 1
        self._station.open(errand.id, errand.peer)
        try:
            await self._receive(request, submission)
            return answer(submission.outcomes)
        except Refused as refused:
            log.warning("request.refused", status=int(refused.status), sentence=refused.sentence, association_id=errand.id)
            return answer_refused(refused, submission.outcomes)
        except ClientDisconnect:
            log.warning("request.lost", association_id=errand.id)
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody hears it
        finally:
            self._open -= 1
            self._threads.submit(submission.close)

    async def _receive(self, request: Request, submission: Submission) -> None:
        """Take the body: one piece comes while the one before is written, and a third waits at the sender."""
        loop, received = asyncio.get_running_loop(), 0
        writing: asyncio.Future[None] | None = None
        try:
            async for chunk in self._paced(request.stream()):
                received += len(chunk)
                if received > self._door.largest_request:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is larger than {self._door.largest_request} bytes.")
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(self._threads, submission.write, chunk)
            if writing is not None:
                await writing
            await loop.run_in_executor(self._threads, submission.finish)
        finally:
            if writing is not None:
                await asyncio.wait([writing])
                writing.cancelled() or writing.exception()  # it is told of once, by what was awaited

    async def _paced(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Give up a sender that falls silent or dribbles; how long our own disk takes is not counted."""
        waited, came = 0.0, 0
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._door.idle_s):
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"Nothing came for {self._door.idle_s} s.") from None
            if not chunk:
                return
            waited, came = waited + time.monotonic() - began, came + len(chunk)
            if waited > self._door.idle_s:
                if came < waited * self._door.slowest:
                    raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"The request is slower than {self._door.slowest} bytes/s.")
                waited, came = 0.0, 0
            yield chunk
