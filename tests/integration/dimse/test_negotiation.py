"""What is negotiated beside contexts: answered as PS3.7 Annex D.3.3 asks, and never in the way of what a sender came for."""

import pytest
from pynetdicom import AE, build_context
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from tests.integration.dimse.wire import CT, EXPLICIT, IMPLICIT, VERIFICATION
from tests.peers import HOST

pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")
WORKLIST = "1.2.840.10008.5.1.4.31"
PRIVATE = "1.2.826.0.1.3680043.9.7433.1.999"


def extended(uid, information):
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = uid, information
    return item


def window(invoked, performed):
    item = AsynchronousOperationsWindowNegotiation()
    item.maximum_number_operations_invoked, item.maximum_number_operations_performed = invoked, performed
    return item


def identity(kind, primary, secondary=None, *, answered=True):
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.positive_response_requested = kind, primary, answered
    if secondary is not None:
        item.secondary_field = secondary
    return item


def common(uid):
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid, item.service_class_uid = uid, "1.2.840.10008.4.2"
    item.related_general_sop_class_identification = [CT]
    return item


@pytest.fixture
def associated(station):
    """Ask with these items; the association as the requestor sees it."""
    opened = []

    def ask(*items):
        ae = AE("SENDER")
        contexts = [build_context(CT, EXPLICIT), build_context(VERIFICATION, IMPLICIT), build_context(PRIVATE, EXPLICIT)]
        association = ae.associate(HOST, station.port, contexts=contexts, ae_title="RADNODE", ext_neg=list(items))
        opened.append(association)
        assert association.is_established
        return association

    yield ask
    for association in opened:
        assert association.send_c_echo().Status == 0
        association.release()


def test_a_storage_class_is_answered_by_level_two_and_no_coercion(associated):
    """PS3.4 Table B.3-2: byte 1 level of support, 3 digital signatures, 5 coercion."""
    association = associated(extended(CT, b"\x03\x00\x00\x00\x02\x00"), extended(WORKLIST, b"\x01"))
    assert association.acceptor.sop_class_extended == {CT: b"\x02\x00\x00\x00\x00\x00"}


def test_nothing_is_said_that_was_not_asked(associated):
    acceptor = associated().acceptor
    assert acceptor.sop_class_extended == {}
    assert acceptor.user_identity is None
    assert acceptor.asynchronous_operations == (1, 1), "which is what no item means"


@pytest.mark.parametrize("proposed", [(5, 5), (0, 0), (1, 9)])
def test_operations_are_one_at_a_time(proposed, associated):
    assert associated(window(*proposed)).acceptor.asynchronous_operations == (1, 1)


@pytest.mark.parametrize("asked", [(1, b"user"), (2, b"user", b"secret"), (3, b"ticket"), (4, b"<assertion/>"), (5, b"token")])
def test_an_identity_is_accepted_and_not_confirmed(asked, associated):
    """A positive answer would say that it was verified (D.3.3.7)."""
    assert associated(identity(*asked)).acceptor.user_identity is None


def test_common_extended_negotiation_is_taken_without_an_answer(associated):
    association = associated(common(PRIVATE), common(CT))
    assert len(association.accepted_contexts) == 3
