"""Instances whose bytes were let go: nothing is made of the rest, and Success is true again when they come again."""

from contextlib import closing

import pytest

from node.app.retention import Sweeper
from node.core.commitment import NO_SUCH_INSTANCE, Reference
from node.core.retention import Terms
from node.intake.adopt import adopt_all
from node.intake.presence import Presence
from node.intake.receive import Desk, Receiver
from node.intake.recent import Recent
from node.intake.room import Room
from node.intake.scribe import Scribe
from node.intake.vouch import vouch
from node.ledger import instances, spooled
from node.ledger.inquiry import Inquiry
from node.spool.local import LocalSpool
from tests.integration.desk import flush, open_desk
from tests.integration.intake.assembly import chest
from tests.unit.intake.arrivals import encode, sent

NOW = Terms(unused_s=0, least_s=-5)


class Full(LocalSpool):
    """A spool on a disk that is as full as a test says."""

    level = 0.95

    def fill(self):
        return self.level


def offer(dataset, association="A9"):
    return sent(encode(dataset), sop_class=dataset.SOPClassUID, instance=dataset.SOPInstanceUID, association=association)


def purged(assembly):
    """A study of three instances that was received, processed and purged."""
    datasets = chest(3)
    assembly.receive(datasets)
    assert assembly.complete() == 1
    with assembly.ledger.beating() as tx:
        tx.exec_driver_sql("UPDATE study SET state = 'processed', processed_at = last_activity_at")
    before = [assembly.spool.path(row["key"]) for row in assembly.rows("instance")]
    assert all(path.exists() for path in before)
    assert Sweeper(assembly.ledger, assembly.spool, NOW, full=0, until=0).sweep() == 3
    assert not any(path.exists() for path in before)
    assert assembly.rows("waste") == []
    return datasets


def test_what_was_purged_is_stored_again_when_it_is_sent_again(assembly):
    datasets = purged(assembly)
    with open_desk(assembly.ledger, assembly.spool.root) as desk:
        for association in ("A8", "A9"):
            assert offer(datasets[0], association).to(Receiver(desk)) == 0
            flush(desk)
    back, *others = sorted(assembly.rows("instance"), key=lambda row: row["purged_at"] is not None)
    assert back["purged_at"] is None
    assert all(row["purged_at"] for row in others)
    assert assembly.spool.path(back["key"]).read_bytes().endswith(encode(datasets[0]))
    assert assembly.names("instance.")[-2:] == ["instance.restored", "instance.duplicate"]
    with assembly.ledger.reading() as tx:
        assert set(assembly.spool.list()) == spooled.known_keys(tx)


def test_what_came_again_and_was_answered_for_is_adopted_after_a_crash(assembly):
    datasets = purged(assembly)
    root, ledger = assembly.spool.root, assembly.ledger
    with LocalSpool(root, "listen") as spool, closing(Inquiry(ledger, instances.HELD)) as inquiry:
        scribe = Scribe(ledger, spool.keep)  # it never runs, as in a process that is killed
        desk = Desk(inquiry=inquiry, spool=spool, scribe=scribe, presence=Presence(), recent=Recent(), room=Room(spool.free_bytes, 0))
        assert offer(datasets[1]).to(Receiver(desk)) == 0
    with LocalSpool(root, "listen") as spool:
        assert adopt_all(ledger, spool) == 1
    (back,) = [row for row in assembly.rows("instance") if row["purged_at"] is None]
    assert assembly.spool.path(back["key"]).read_bytes().endswith(encode(datasets[1]))
    with ledger.reading() as tx:
        assert set(assembly.spool.list()) == spooled.known_keys(tx)


def test_a_late_instance_of_a_purged_study_is_kept_and_nothing_is_made_of_it(assembly):
    datasets = purged(assembly)
    late = chest(4)[3]
    late.StudyInstanceUID, late.SOPInstanceUID = datasets[0].StudyInstanceUID, "1.2.3.99"
    assert assembly.receive([late], "A2") == [0]
    assert assembly.complete() == 1
    assert assembly.events("study.not_applicable")[-1].code == "PURGED.study"
    assert assembly.tickets() == {}


def test_commitment_says_that_there_is_no_such_instance_any_more(assembly):
    datasets = purged(assembly)
    references = [Reference(one.SOPClassUID, one.SOPInstanceUID) for one in datasets]
    assert {one.reason for one in vouch(assembly.ledger, assembly.spool, references) or ()} == {NO_SUCH_INSTANCE}


@pytest.mark.parametrize(("level", "gone"), [(0.95, 2), (0.85, 0)])
def test_a_full_disk_lets_go_of_what_was_delivered_and_of_nothing_else(assembly, tmp_path, level, gone):
    for name in ("one", "two"):
        assembly.receive(chest(2, study_name=name), name)
    assembly.complete()
    with assembly.ledger.beating() as tx:
        tx.exec_driver_sql("UPDATE study SET state = 'processed', processed_at = last_activity_at")
        first = tx.exec_driver_sql("SELECT min(study_instance_uid) FROM study").scalar_one()
        columns = (
            "id, kind, state, node_ae, study_instance_uid, revision, pipeline, model_digest, series_instance_uids, input_sha256, job_id"
        )
        values = f"'j', 'infer', 'done', 'A', '{first}', 1, 'p', 'm', '[]', 'i', 'j'"
        now = "(SELECT max(last_activity_at) FROM study)"
        tx.exec_driver_sql(
            f"INSERT INTO work ({columns}, priority, attempt, dispatch, crashes, queued_at) VALUES ({values}, 1, 1, 1, 0, {now})"
        )
        columns = "sop_instance_uid, destination, work_id, job_id, kind, sop_class_uid, series_instance_uid, key, sha256, state, attempts"
        values = "'9.9', 'pacs', 'j', 'j', 'SEG', '1', '1', 'results/j', 's', 'committed', 1"
        tx.exec_driver_sql(f"INSERT INTO delivery ({columns}, owed_at, sent_at) VALUES ({values}, {now}, {now})")
    with Full(assembly.spool.root, "deliver") as spool:
        spool.level = level
        sweeper = Sweeper(assembly.ledger, spool, Terms(least_s=-5), full=0.9, until=0.8)
        assert sweeper.sweep() == (gone + 1 if gone else 0)
    left = {row["study_instance_uid"] for row in assembly.rows("instance") if row["purged_at"] is None}
    assert (first in left) == (not gone)
    assert len(left) == (1 if gone else 2)
    assert assembly.names("source.") == (["source.purged"] if gone else [])
