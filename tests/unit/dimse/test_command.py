"""A C-STORE request is understood as pynetdicom writes it, or left alone; the response is what pynetdicom reads."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import P_DATA_TF

from node.dimse.command import StoreRequest, store_response

CT, INSTANCE = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.0.1.3680043.9.1.3"


def command_of(message_id=7, sop_class=CT, instance=INSTANCE, **more) -> bytes:
    """A C-STORE request's command set as pynetdicom encodes it."""
    primitive = C_STORE()
    primitive.MessageID = message_id
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = sop_class, instance
    primitive.Priority, primitive.DataSet = 2, BytesIO(b"x")
    for name, value in more.items():
        setattr(primitive, name, value)
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    return bytes(encode(message.command_set, True, True))


def with_length(elements: bytes) -> bytes:
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


uids = st.from_regex(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)


@given(message_id=st.integers(0, 0xFFFF), sop_class=uids, instance=uids)
def test_what_pynetdicom_asks_is_understood(message_id, sop_class, instance):
    request = StoreRequest.parse(command_of(message_id, sop_class, instance))
    assert request == StoreRequest(message_id=struct.pack("<H", message_id), sop_class_uid=sop_class, sop_instance_uid=instance)


def test_who_moves_it_changes_nothing():
    request = StoreRequest.parse(command_of(MoveOriginatorApplicationEntityTitle="MOVER", MoveOriginatorMessageID=3))
    assert request is not None
    assert request.sop_instance_uid == INSTANCE


@pytest.mark.parametrize("more", [{}, {"MoveOriginatorApplicationEntityTitle": "MOVER", "MoveOriginatorMessageID": 3}])
def test_a_part_of_a_command_is_no_command(more):
    """The group length says where a command ends, so that half of one is never taken for a whole."""
    command = command_of(**more)
    assert StoreRequest.parse(command) is not None
    assert all(StoreRequest.parse(command[:end]) is None for end in range(len(command)))
    assert all(StoreRequest.parse(command[begin:]) is None for begin in range(1, len(command)))


def test_a_request_without_a_data_set_is_left_to_pynetdicom():
    command = command_of()
    kind = command.index(struct.pack("<HHI", 0, 0x0800, 2)) + 8
    for value in (b"\x01\x00", b"\x00\x00", b"\x02\x00", b"\xfe\xff"):
        assert StoreRequest.parse(command[:kind] + value + command[kind + 2 :]) is not None
    assert StoreRequest.parse(command[:kind] + b"\x01\x01" + command[kind + 2 :]) is None


@pytest.mark.parametrize("left_out", [0x0002, 0x0100, 0x0110, 0x0800, 0x1000])
def test_a_command_without_what_it_needs_is_left_to_pynetdicom(left_out):
    wanted = {
        0x0002: CT.encode() + b"\0",
        0x0100: b"\x01\x00",
        0x0110: b"\x07\x00",
        0x0700: b"\x02\x00",
        0x0800: b"\x00\x00",
        0x1000: INSTANCE.encode() + b"\0",
    }
    assert StoreRequest.parse(with_length(b"".join(element(*item) for item in wanted.items()))) is not None
    del wanted[left_out]
    assert StoreRequest.parse(with_length(b"".join(element(*item) for item in wanted.items()))) is None


def test_another_command_is_left_to_pynetdicom():
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 1, "1.2.840.10008.1.1"
    message = C_ECHO_RQ()
    message.primitive_to_message(primitive)
    assert StoreRequest.parse(bytes(encode(message.command_set, True, True))) is None


def test_a_uid_that_is_no_text_is_left_to_pynetdicom():
    assert StoreRequest.parse(command_of().replace(b"1.2.826", b"1.2.\xff26")) is None


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_no_garbage_is_a_request(garbage):
    assert StoreRequest.parse(garbage) is None


@settings(max_examples=500)
@given(data=st.data())
def test_no_mutation_breaks_the_parser(data):
    command = bytearray(command_of())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(command) - 1))
        command[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    request = StoreRequest.parse(bytes(command))
    assert request is None or len(request.message_id) == 2


@given(message_id=st.integers(0, 0xFFFF), sop_class=uids, instance=uids, context=st.integers(0, 127), status=st.integers(0, 0xFFFF))
def test_what_we_answer_is_what_pynetdicom_reads(message_id, sop_class, instance, context, status):
    request = StoreRequest(message_id=struct.pack("<H", message_id), sop_class_uid=sop_class, sop_instance_uid=instance)
    pdu = P_DATA_TF()
    pdu.decode(bytearray(store_response(request, 2 * context + 1, status)))
    message = C_STORE_RSP()
    assert message.decode_msg(pdu.to_primitive()), "one piece holds the whole message"
    assert message.context_id == 2 * context + 1
    answer = message.message_to_primitive()
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (message_id, status)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (sop_class, instance)


def test_the_response_is_encoded_as_pynetdicom_would():
    request = StoreRequest(message_id=b"\x07\x00", sop_class_uid=CT, sop_instance_uid=INSTANCE)
    command = decode(BytesIO(store_response(request, 5, 0xA700)[12:]), True, True)
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo, primitive.Status = 7, 0xA700
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, INSTANCE
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    assert command == message.command_set
