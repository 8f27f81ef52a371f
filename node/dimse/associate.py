"""Calling a remote AE: the association, or the reason why there is none (PS3.8 section 7.1)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from node.core.errors import PeerRefused, PeerUnavailable
from node.core.remote import RemoteAE

#: At most this many presentation contexts fit into one association (PS3.8 section 9.3.2.2: odd numbers below 256).
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who we are when we call, and how long we wait."""

    ae_title: str
    connect_s: float
    answer_s: float


def associate(
    caller: Caller,
    remote: RemoteAE,
    contexts: Sequence[PresentationContext],
    tls: SSLContext | None = None,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Association:
    """Open an association with ``remote``, or say why there is none.

    Parameters
    ----------
    contexts : sequence of PresentationContext
        What is proposed; of more than fit, the first.
    tls : SSLContext, optional
        Secures the connection; the remote's name is its host.
    roles : sequence of SCP_SCU_RoleSelectionNegotiation
        Where the roles are other than the usual ones (PS3.7 Annex D.3.3.4).
    handlers : sequence of (event, callable)
        For what the remote may ask us meanwhile.

    Raises
    ------
    PeerUnavailable
        If no association could be had, and trying again may help.
    PeerRefused
        If the remote rejected the association for good.
    """
    ae = AE(caller.ae_title)
    ae.connection_timeout = ae.acse_timeout = caller.connect_s
    ae.dimse_timeout = ae.network_timeout = caller.answer_s
    options: dict[str, Any] = {"contexts": list(contexts)[:_MOST_CONTEXTS], "ae_title": remote.ae_title, "max_pdu": 131072}
    options |= {"tls_args": (tls, remote.host) if tls else None, "ext_neg": list(roles), "evt_handlers": list(handlers)}
    try:
        association = ae.associate(remote.host, remote.port, **options)
    except OSError as error:  # the name server's word; whatever comes after it, pynetdicom reports by the association
        raise PeerUnavailable(f"{remote.name}: {remote.host} cannot be found ({error.strerror}).", reason="no_connection") from error
    if not association.is_established:
        raise _explain(association, remote)
    _give_answers_back(association)
    if (transport := association.dul.socket) is not None and transport.socket is not None:
        # A request is two writes or more; without this the last would wait for the remote's delayed acknowledgement, 40 ms each time.
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # pynetdicom's time-outs are for answers; a remote that stops reading in mid-message would hold its thread, and so ours, for ever.
        transport.socket.settimeout(caller.answer_s)
    return association


def _give_answers_back(association: Association) -> None:
    """Have an answer reach whoever waits for it.

    pynetdicom 3.0.4 has the association's own thread pause while a request is under way. When the answer to the one before it was quick,
    that thread may still be on its way out of the last pause, takes the answer for a request, and drops it.
    """
    serve = association._serve_request  # noqa: SLF001

    def serve_or_give_back(message: Any, context_id: int) -> None:
        if getattr(message, "MessageIDBeingRespondedTo", None) is None:
            serve(message, context_id)
        else:
            association.dimse.msg_queue.put((context_id, message))

    association._serve_request = serve_or_give_back  # type: ignore[method-assign,assignment]  # noqa: SLF001


def _explain(association: Association, remote: RemoteAE) -> PeerRefused | PeerUnavailable:
    if association.is_rejected:
        reply = association.acceptor.primitive
        said = f"{remote.name} rejected the association: {getattr(reply, 'reason_str', 'no reason given')}."
        if getattr(reply, "result", 2) == 1:
            return PeerRefused(f"{said} Check the AE titles on both sides.", reason="rejected")
        return PeerUnavailable(said, reason="rejected")
    if association.is_aborted and not association.rejected_contexts and association.acceptor.primitive is None:
        return PeerUnavailable(f"{remote.name} cannot be reached at {remote.host}:{remote.port}.", reason="no_connection")
    if association.rejected_contexts:
        wanted = ", ".join(sorted({str(context.abstract_syntax) for context in association.rejected_contexts}))
        return PeerRefused(f"{remote.name} accepts none of what we propose ({wanted}).", reason="contexts")
    return PeerUnavailable(f"{remote.name} ended the association before it was established.", reason="aborted")
