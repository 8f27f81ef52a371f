"""When a study is complete, and what becomes of what comes late."""

import threading
import time

from node.ledger import studies
from tests.integration.intake.assembly import QUIET_S, Assembly, chest
from tests.peers import wait_until


def test_a_quiet_study_is_complete_and_gives_one_job(assembly):
    datasets = chest()
    assert assembly.receive(datasets) == [0] * 30
    assert assembly.assembler.sweep() == 0, "it has not been quiet for long enough"
    assert assembly.complete() == 1
    (study,) = assembly.rows("study")
    assert (study["state"], study["revision"], study["instances"]) == ("complete", 1, 30)
    decided = {"rule": "quiet", "instances": 30, "series": 1, "quiet_s": 0.3, "quiet_why": "configured", "open_associations": 0}
    asked = {"called_ae": ["RADNODE"], "patience_s": 600.0, "steps": {}, "stated": 0, "asked": [], "missing": []}
    assert study["evidence"] == decided | asked
    (job,) = assembly.rows("work")
    assert (job["pipeline"], job["state"], job["series_instance_uids"]) == ("ct_lungs", "queued", [datasets[0].SeriesInstanceUID])
    assert len(assembly.tickets()) == 1, "the engine was given it in the same transaction"
    assert [name for name in assembly.names() if not name.startswith("instance")] == ["study.opened", "study.completed", "job.queued"]
    assert assembly.assembler.sweep() == 0


def test_the_quiet_time_is_real_time(tmp_path, database):
    with Assembly(tmp_path, database, quiet_s=1.0) as assembly:
        before = time.monotonic()
        assembly.receive(chest(2))
        wait_until(assembly.assembler.sweep, seconds=10, sentence="the study never becomes complete", pause=0.05)
        assert 0.8 < time.monotonic() - before < 10


def test_a_clock_that_was_stepped_back_delays_a_study_by_its_quiet_time_and_no_more(assembly):
    assembly.receive(chest())
    assembly.age(-3600)
    assert assembly.assembler.sweep() == 0
    time.sleep(QUIET_S)
    assert assembly.assembler.sweep() == 1


def test_an_open_association_holds_a_study_open(assembly):
    assembly.presence.enter("A1")
    assembly.receive(chest())
    assert assembly.complete() == 0
    assembly.presence.leave("A1")
    assert assembly.assembler.sweep() == 0, "what was held open must first be quiet again"
    assert assembly.complete() == 1


def test_only_the_studies_of_an_open_association_are_held(assembly):
    assembly.presence.enter("A1")
    assembly.receive(chest(study_name="held"), "A1")
    assembly.receive(chest(study_name="free"), "A2")
    assert assembly.complete() == 1
    assert {study["state"] for study in assembly.rows("study")} == {"open", "complete"}


def test_an_association_with_another_process_holds_a_study_open(tmp_path, database):
    with Assembly(tmp_path, database) as ours, Assembly(tmp_path, database) as other:
        other.presence.enter("A1")
        other.receive(chest())
        ours.age()
        other.assembler.sweep()
        assert ours.assembler.sweep() == 0, "the other has renewed it in the ledger"
        other.presence.leave("A1")
        assert ours.complete() == 1
        assert other.assembler.sweep() == 0


def test_a_sweep_that_takes_long_renews_what_is_held_open_while_it_goes_on(tmp_path, database):
    def slowly(_tx, _study_instance_uid):
        """No procedure steps, and it takes an hour to find that out."""
        time.sleep(0.2)
        assembly.age()
        return ()

    with Assembly(tmp_path, database, steps_of=slowly, settle_s=0.3) as assembly:
        assembly.receive(chest(study_name="quiet"), "A1")
        assembly.age()
        assembly.presence.enter("A2")
        assembly.receive(chest(study_name="held"), "A2")
        assembly.assembler.sweep()
        with assembly.ledger.reading() as tx:
            quiet = [study.study_instance_uid for study in studies.quiet(tx, 60.0)]
    assert quiet == [chest(2, study_name="quiet")[0].StudyInstanceUID], "no other listener may complete the one that is held"


def test_two_processes_that_sweep_at_once_complete_a_study_once(tmp_path, database):
    with Assembly(tmp_path, database) as first, Assembly(tmp_path, database) as second:
        first.receive(chest())
        first.age()
        done, together = [], threading.Barrier(2)

        def sweep(assembly):
            together.wait()
            done.append(assembly.assembler.sweep())

        threads = [threading.Thread(target=sweep, args=(assembly,)) for assembly in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [0, 1]
        assert len(first.rows("work")) == 1
        assert first.names("study.completed") == ["study.completed"]


def test_a_late_instance_makes_a_new_revision_with_a_job_of_its_own(assembly):
    datasets = chest()
    assembly.receive(datasets[:-1])
    assembly.complete()
    assembly.receive(datasets[-1:])
    assert [study["state"] for study in assembly.rows("study")] == ["complete", "open"]
    assert assembly.complete() == 1
    first, second = sorted(assembly.rows("work"), key=lambda job: job["revision"])
    assert (first["revision"], second["revision"]) == (1, 2)
    assert first["input_sha256"] != second["input_sha256"]
    assert first["id"] != second["id"]
    assert "study.reopened" in assembly.names()


def test_a_late_instance_that_changes_no_input_runs_nothing_again(assembly):
    datasets, other = chest(), chest(3, seed=1)
    assembly.receive(datasets)
    assembly.complete()
    assembly.end()
    assembly.receive(other)
    assembly.complete()
    (job,) = assembly.rows("work")
    (row,) = assembly.events("job.unchanged")
    assert (row.revision, row.detail["same_input_as"], row.detail["pipeline"]) == (2, job["id"], "ct_lungs")
    assert assembly.rows("study")[-1]["state"] == "processed"


def test_a_failed_job_is_run_again_at_the_next_revision(assembly):
    assembly.receive(chest())
    assembly.complete()
    assembly.end("failed")
    assembly.receive(chest(3, seed=1))
    assembly.complete()
    assert sorted(job["state"] for job in assembly.rows("work")) == ["failed", "queued"]
    assert assembly.names("job.unchanged") == []


def test_the_same_bytes_again_open_no_revision(assembly):
    datasets = chest()
    assembly.receive(datasets)
    assembly.complete()
    assert assembly.receive(datasets) == [0] * 30
    assert len(assembly.rows("study")) == 1
    assert assembly.complete() == 0


def test_late_instances_may_be_kept_without_being_processed(tmp_path, database):
    with Assembly(tmp_path, database, reprocess=False) as assembly:
        datasets = chest()
        assembly.receive(datasets[:-1])
        assembly.complete()
        assembly.receive(datasets[-1:])
        assert assembly.complete() == 1
        assert len(assembly.rows("work")) == 1
        assert [study["state"] for study in assembly.rows("study")] == ["complete", "processed"]
        assert len(assembly.rows("instance")) == 30


def test_what_comes_while_a_study_is_judged_is_not_lost(assembly):
    """Whatever comes between the look and the verdict makes the verdict void."""
    datasets = chest()
    assembly.receive(datasets[:-1])
    assembly.age()
    looked = []

    class Racing:
        """The catalogue is asked in the middle of the judgement: here one more instance comes."""

        def __init__(self, catalog):
            self.unavailable, self._catalog = catalog.unavailable, catalog

        @property
        def available(self):
            if not looked:
                looked.append(assembly.receive(datasets[-1:]))
            return self._catalog.available

    assembly.assembler._catalog = Racing(assembly.assembler._catalog)
    assert assembly.assembler.sweep() == 0
    assert assembly.rows("work") == []
    assert assembly.complete() == 1
    assert assembly.rows("study")[0]["evidence"]["instances"] == 30


def test_sweeping_goes_on_until_it_is_stopped(assembly):
    stop = threading.Event()
    sweeper = threading.Thread(target=assembly.assembler.run, args=(stop, 0.05))
    sweeper.start()
    assembly.receive(chest())
    wait_until(lambda: assembly.rows("work"), seconds=10, sentence="nothing was swept")
    stop.set()
    sweeper.join(5)
    assert not sweeper.is_alive()
