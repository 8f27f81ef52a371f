"""Storage commitment, asked of a real listener by pynetdicom: on the same association, on a new one, and when nobody is there."""

from contextlib import contextmanager

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.integration.commitment.requester import (
    CT,
    MR,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    Requester,
    ask,
    information,
    make_ct,
)
from tests.invariants import i5_every_state_is_explained_by_the_audit_log
from tests.nodes import Node
from tests.peers import free_port, wait_until

SOURCE = get_testdata_file("CT_small.dcm")
PEER_PORT = free_port()
MORE = f"""
[commitment]
same_association_s = 0.2
retry_first_s = 0.3
retry_most_s = 0.5
give_up_s = 2.5
[[peer]]
name = "modality"
ae_title = "MODALITY"
host = "127.0.0.1"
port = {PEER_PORT}
"""
pytestmark = pytest.mark.filterwarnings("ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning")


@contextmanager
def running(folder, *, fast):
    """One listener for all; each test has instances, transactions and mostly an AE title of its own."""
    node = Node(folder, [], quiet_s=60.0, listen=f"fast = {fast}", more=MORE)
    with node.running("listen"):
        yield node
        i5_every_state_is_explained_by_the_audit_log(node)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running(tmp_path_factory.mktemp("commitment") / "node", fast="true") as node:
        yield node


@pytest.fixture(scope="module")
def node_by_pynetdicom(tmp_path_factory):
    """One that receives by pynetdicom's own path."""
    with running(tmp_path_factory.mktemp("commitment") / "node", fast="false") as node:
        yield node


@pytest.fixture(params=["node", "node_by_pynetdicom"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def requester(node):
    """Configured as a peer, and listening."""
    requester = Requester(node.port, "MODALITY", PEER_PORT)
    with requester.listening():
        yield requester


def store(association, count=1):
    """Store instances of one study; return them, class and UID of each."""
    stored = []
    for _ in range(count):
        dataset = make_ct(SOURCE)
        assert association.send_c_store(dataset).Status == 0
        stored.append((CT, str(dataset.SOPInstanceUID)))
    return stored


def row_of(node, transaction_uid, state):
    """The row of a transaction as soon as it is in a state."""

    def found():
        rows = [row for row in node.rows("commitment") if row["transaction_uid"] == transaction_uid]
        return next((row for row in rows if row["state"] == state), None)

    return wait_until(found, seconds=15, sentence=f"not {state}: {node.rows('commitment')}", pause=0.05)


def events_of(node, transaction_uid):
    return [row.event for row in node.events() if row.detail.get("transaction_uid") == transaction_uid]


def test_who_waits_is_told_on_the_same_association(node, requester):
    with requester.association() as association:
        stored = store(association, 3)
        status, transaction = ask(association, stored)
        assert status == 0
        report = requester.hear()
        assert association.send_c_echo().Status == 0, "the association goes on"
        assert store(association)
    assert (report.where, report.event_type, report.transaction_uid) == ("same", 1, transaction)
    assert (report.committed, report.failed) == (stored, {})
    row = row_of(node, transaction, "reported")
    assert (row["result"], row["attempts"], row["calling_ae"]) == ([0, 0, 0], 1, "MODALITY")
    assert events_of(node, transaction) == ["commitment.requested", *["commitment.judged"] * 3, "commitment.reported"]
    history = node.events(stored[0][1])
    study = next(found.study_instance_uid for found in history if found.event == "instance.received")
    assert [found.event for found in node.events(study) if found.event.startswith("commitment")] == events_of(node, transaction)


def test_who_is_gone_is_told_on_a_new_association(node, requester):
    with requester.association() as association:
        stored = store(association)
        _, transaction = ask(association, stored)
    report = requester.hear()
    assert (report.where, report.event_type, report.transaction_uid, report.committed) == ("new", 1, transaction, stored)
    assert (report.calling_ae, report.called_ae) == ("RADNODE", "MODALITY")
    assert report.roles == [(PUSH_MODEL, False, True)], "we are the SCP of an association that we request (PS3.7 D.3.3.4)"
    assert row_of(node, transaction, "reported")["reported_at"]


def test_what_we_do_not_hold_is_told_with_its_reason(node, requester):
    with requester.association() as association:
        (held,), unknown = store(association), (CT, generate_uid())
        _, transaction = ask(association, [held, unknown, (MR, held[1])])
        report = requester.hear()
    assert (report.event_type, report.committed) == (2, [held])
    assert report.failed == {unknown[1]: 0x0112, held[1]: 0x0119}
    assert row_of(node, transaction, "reported")["result"] == [0, 0x0112, 0x0119]


def test_a_file_that_is_damaged_is_not_answered_for(node, requester):
    with requester.association() as association:
        stored = store(association, 2)
        wait_until(lambda: len(node.events(stored[1][1])) > 0, seconds=5, sentence="no row came")
        keys = {row["sop_instance_uid"]: row["key"] for row in node.rows("instance")}
        cut, gone = (node.config.node.data / "spool" / keys[uid] for _, uid in stored)
        kept = cut.read_bytes(), gone.read_bytes()
        cut.write_bytes(kept[0][:-1])
        gone.unlink()
        ask(association, stored)
        report = requester.hear()
        cut.write_bytes(kept[0])
        gone.write_bytes(kept[1])
    assert report.failed == {stored[0][1]: 0x0110, stored[1][1]: 0x0110}


def without_transaction_uid():
    found = information([(CT, "1.2.3")])
    del found.TransactionUID
    return found


@pytest.mark.parametrize(
    ("dataset", "action", "instance", "status"),
    [
        (information([(CT, "1.2.3")]), 1, "1.2.840.10008.1.20.1.2", 0x0112),
        (information([(CT, "1.2.3")]), 2, PUSH_MODEL_INSTANCE, 0x0123),
        (None, 1, PUSH_MODEL_INSTANCE, 0x0115),
        (information([]), 1, PUSH_MODEL_INSTANCE, 0x0115),
        (information([("", "1.2.3")]), 1, PUSH_MODEL_INSTANCE, 0x0115),
        (information([(CT, "1.2.3"), (CT, "")]), 1, PUSH_MODEL_INSTANCE, 0x0115),
        (without_transaction_uid(), 1, PUSH_MODEL_INSTANCE, 0x0115),
    ],
    ids=["instance", "action", "nothing", "no_items", "no_class", "no_uid", "no_transaction"],
)
def test_what_is_no_request_is_refused(node, dataset, action, instance, status):
    requester = Requester(node.port, "STRANGE", free_port())
    before, refused = len(node.rows("commitment")), [row.event for row in node.events()].count("commitment.refused")
    with requester.association() as association:
        answer, _ = association.send_n_action(dataset, action, PUSH_MODEL, instance)
        assert answer.Status == status
        assert association.send_c_echo().Status == 0
    row = node.wait_for("commitment.refused", count=refused + 1)
    assert (row.detail["status"], row.detail["calling_ae"]) == (f"0x{status:04X}", "STRANGE")
    assert len(node.rows("commitment")) == before


def test_the_same_request_gets_the_same_answer(node, requester):
    with requester.association() as association:
        held, unknown = store(association, 2), make_ct(SOURCE)
        asked = [*held, (CT, str(unknown.SOPInstanceUID))]
        _, transaction = ask(association, asked)
        first = requester.hear()
        assert association.send_c_store(unknown).Status == 0, "it would be committed now"
        assert ask(association, list(reversed(asked)), transaction)[0] == 0
        second = requester.hear()
    assert (first.event_type, first.failed) == (2, {asked[2][1]: 0x0112})
    assert second == first
    assert row_of(node, transaction, "reported")["attempts"] == 1
    assert [row["transaction_uid"] for row in node.rows("commitment")].count(transaction) == 1


def test_a_transaction_uid_that_was_used_is_told_so(node, requester):
    with requester.association() as association:
        stored = store(association, 2)
        _, transaction = ask(association, stored[:1])
        assert requester.hear().committed == stored[:1]
        assert ask(association, stored, transaction)[0] == 0
        report = requester.hear()
    assert (report.event_type, report.committed) == (2, [])
    assert report.failed == {uid: 0x0131 for _, uid in stored}


def test_another_requester_may_use_the_same_transaction_uid(node, requester):
    other = Requester(node.port, "OTHER", free_port())
    with requester.association() as first, other.association() as second:
        stored = store(first)
        _, transaction = ask(first, stored)
        ask(second, [(CT, generate_uid())], transaction)
        assert requester.hear().event_type == 1
        assert list(other.hear().failed.values()) == [0x0112]


def test_a_requester_that_refuses_it_there_is_told_on_a_new_association(node):
    requester = Requester(node.port, "MODALITY", PEER_PORT, lambda where: 0x0110 if where == "same" else 0)
    with requester.listening(), requester.association() as association:
        _, transaction = ask(association, store(association))
        assert requester.hear().where == "new"
    assert row_of(node, transaction, "reported")["attempts"] == 1


def test_a_requester_that_is_back_later_is_told_then(node):
    requester = Requester(node.port, "MODALITY", PEER_PORT)
    with requester.association() as association:
        _, transaction = ask(association, store(association))
    wait_until(lambda: "commitment.postponed" in events_of(node, transaction), seconds=10, sentence="nobody was called")
    with requester.listening():
        assert requester.hear().transaction_uid == transaction
    assert row_of(node, transaction, "reported")["attempts"] > 1


def test_a_requester_that_nobody_knows_is_given_up_with_the_reason(node):
    requester = Requester(node.port, "NOBODY", free_port())
    with requester.association() as association:
        _, transaction = ask(association, store(association))
    row = row_of(node, transaction, "failed")
    assert row["code"] == "PEER_REFUSED.unknown"
    assert "NOBODY" in row["reason"]
    assert "[[peer]]" in row["reason"]
    assert events_of(node, transaction)[-1] == "commitment.failed"
    assert "commitment.postponed" in events_of(node, transaction), "it was tried until it was too old"


def test_a_long_report_passes_between_requests_that_go_on(either):
    """A report of many fragments, while the requester goes on storing on the same association: nothing is lost or mixed up."""
    node, requester = either, Requester(either.port, "MODALITY", PEER_PORT)
    pairs = [(CT, generate_uid()) for _ in range(400)]
    with requester.association(max_pdu=4096) as association:
        pairs[:1] = store(association)
        _, transaction = ask(association, pairs)
        stored = []
        while requester.reports.empty() and len(stored) < 300:  # some are enough, where each takes long
            stored += store(association)
        report = requester.hear()
        stored += store(association, 3)
        assert association.is_established
    assert (report.where, report.transaction_uid, report.committed) == ("same", transaction, pairs[:1])
    assert list(report.failed) == [uid for _, uid in pairs[1:]]
    wait_until(lambda: node.events(stored[-1][1]), seconds=5, sentence="no row came")
    assert {uid for _, uid in stored} <= {row["sop_instance_uid"] for row in node.rows("instance")}


def test_instances_are_never_judged_before_their_rows(node, requester):
    """Asked at once behind the last Success, over and over."""
    with requester.association() as association:
        for _ in range(3):
            stored = store(association, 4)
            ask(association, stored)
            assert requester.hear().committed == stored


def test_an_abort_behind_the_request_harms_nothing(either):
    requester = Requester(either.port, "MODALITY", PEER_PORT)
    with requester.listening():
        for _ in range(2):
            with requester.association() as association:
                _, transaction = ask(association, store(association))
                association.abort()
            report = requester.hear()
            assert (report.where, report.transaction_uid) == ("new", transaction)
    assert "Traceback" not in either.logs()


def test_a_listener_killed_behind_its_answer_reports_when_it_is_back(tmp_path):
    port = free_port()
    more = MORE.replace(str(PEER_PORT), str(port)).replace("give_up_s = 2.5", "give_up_s = 60").replace("_s = 0.2", "_s = 1.5")
    node = Node(tmp_path / "node", [], quiet_s=60.0, more=more)
    requester = Requester(node.port, "MODALITY", port)
    with requester.listening():
        with node.running("listen") as (listener,), requester.association() as association:
            stored = store(association, 2)
            _, transaction = ask(association, stored)
            listener.kill()
        assert requester.reports.empty()
        with node.running("listen"):
            report = requester.hear(20)
            assert (report.where, report.transaction_uid, report.committed) == ("new", transaction, stored)
            row_of(node, transaction, "reported")
    i5_every_state_is_explained_by_the_audit_log(node)
