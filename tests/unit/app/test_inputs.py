"""The files of a job reach the model in the order of the pipeline's inputs."""

from dataclasses import replace
from pathlib import Path

from node.app.work import inputs_of
from tests.unit.core.test_job import JOB

FILES = {"1.2.3.1": [Path("a"), Path("b")], "1.2.3.2": [Path("c")]}


def test_each_input_gets_the_files_of_its_series():
    first, second = inputs_of(JOB, FILES)
    assert (first.series_instance_uid, first.paths, first.stack) == ("1.2.3.1", (Path("a"), Path("b")), "")
    assert (second.series_instance_uid, second.paths, second.stack) == ("1.2.3.2", (Path("c"),), "")


def test_the_order_is_that_of_the_job_and_not_of_the_files():
    turned = replace(JOB, series_instance_uids=("1.2.3.2", "1.2.3.1"))
    assert [given.paths for given in inputs_of(turned, FILES)] == [(Path("c"),), (Path("a"), Path("b"))]


def test_two_stacks_of_one_series_are_two_inputs_of_the_same_files():
    echoes = replace(JOB, series_instance_uids=("1.2.3.1", "1.2.3.1"), stacks=("EchoTime=12", "EchoTime=90"))
    found = inputs_of(echoes, FILES)
    assert [given.stack for given in found] == ["EchoTime=12", "EchoTime=90"]
    assert {given.paths for given in found} == {(Path("a"), Path("b"))}
