"""Which series of real studies a pipeline of several inputs takes, by how they were made and not by what they are called."""

import tomllib
from pathlib import Path

import pytest

from pipelines.alignment import align
from pipelines.errors import CodedError
from pipelines.facts import SeriesFacts, facts_of, survey
from pipelines.frames import slices_of
from pipelines.result import SeriesFiles
from pipelines.rules import Input, SeriesRule
from pipelines.selection import choose, select, why_not
from pipelines.series import read_headers, read_volume
from pipelines.spec import read_pipeline
from pipelines.stacks import take

REPOSITORY = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FOUR_CONTRASTS = """
[[inputs]]
name = "t1c"
modality = ["MR"]
image_type_all = ["ORIGINAL", "PRIMARY"]
contrast = "given"
sequence_none = ["EP"]
echo_time_ms = { min = 0.5, max = 30.0 }
repetition_time_ms = { min = 3.0, max = 2400.0 }

[[inputs]]
name = "t1"
modality = ["MR"]
image_type_all = ["ORIGINAL", "PRIMARY"]
contrast = "none"
sequence_none = ["EP"]
echo_time_ms = { min = 0.5, max = 30.0 }
repetition_time_ms = { min = 3.0, max = 2400.0 }

[[inputs]]
name = "t2"
modality = ["MR"]
image_type_all = ["ORIGINAL", "PRIMARY"]
sequence_all = ["SE"]
sequence_none = ["IR", "EP"]
echo_time_ms = { min = 70.0, max = 250.0 }
repetition_time_ms = { min = 2000.0, max = 20000.0 }

[[inputs]]
name = "flair"
modality = ["MR"]
image_type_all = ["ORIGINAL", "PRIMARY"]
sequence_all = ["IR"]
sequence_none = ["EP"]
echo_time_ms = { min = 70.0, max = 500.0 }
inversion_time_ms = { min = 1500.0, max = 3000.0 }
"""
INPUTS = tuple(Input.model_validate(table) for table in tomllib.loads(FOUR_CONTRASTS)["inputs"])


def facts_in(folder: Path) -> list[SeriesFacts]:
    series: dict[str, list] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        (header,) = read_headers([path])
        series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    return [facts for headers in series.values() for facts in survey(headers)]


@pytest.fixture(scope="module")
def brain(test_data: Path) -> list[SeriesFacts]:
    return facts_in(test_data / "mr_brain_enhanced_nema_tumour")


def test_four_contrasts_of_a_real_brain_are_told_apart_by_their_physics(brain: list[SeriesFacts]) -> None:
    for candidates in (brain, brain[::-1]):
        (taken,) = choose(INPUTS, candidates).sets
        assert [facts.description for facts in taken] == ["* T1 AXIAL POST GAD", "* T1 AXIAL PRE GAD", "* T2 FSE AXIAL", "* FLAIR AXIAL"]
    for given, mine in zip(INPUTS, taken, strict=True):
        assert [facts for facts in brain if why_not(given, facts) is None] == [mine], "one series fits each input, and no other"


def test_the_contrast_that_is_missing_is_named(brain: list[SeriesFacts]) -> None:
    choice = choose(INPUTS, [facts for facts in brain if "FLAIR" not in facts.description])
    assert choice.sets == ()
    assert choice.missing == ("Input flair: no series fits.",)


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("duplicate_and_missing", "GEOMETRY.duplicate_position"),
        ("gantrytilting", "GEOMETRY.tilt"),
        ("notavolume", "GEOMETRY.too_few"),
        ("slicecount", "GEOMETRY.too_few"),
        ("sliceincrement", "GEOMETRY.gap"),
        ("sliceorientation", "GEOMETRY.mixed_orientation"),
    ],
)
def test_what_keeps_a_series_from_being_a_volume_is_known_when_it_is_chosen(folder: str, code: str, test_data: Path) -> None:
    (facts,) = facts_in(test_data / "odd" / "geometry" / folder)
    assert facts.fault == code


def as_one_series(folder: Path) -> list:
    headers = list(read_headers(sorted(folder.iterdir())))
    for header in headers:
        header.SeriesInstanceUID = "2.25.7"
    return headers


def test_time_points_of_one_series_are_taken_by_no_rule_that_does_not_ask_for_them(test_data: Path) -> None:
    headers = as_one_series(test_data / "odd" / "geometry" / "ct_4d_19_timepoints")
    stacks = survey(headers)
    assert [facts.stack for facts in stacks] == [f"TemporalPosition={number}" for number in range(1, 20)]
    assert {facts.fault for facts in stacks} == {""}
    assert facts_of(headers).fault == "GEOMETRY.duplicate_position"
    rule = SeriesRule(modality=("CT",))
    assert {reason.code for reason in select(rule, stacks).reasons.values()} == {"stacks"}
    asking = SeriesRule(modality=("CT",), stacks_by=("TemporalPosition",), choose="latest")
    (last,) = select(asking, stacks).chosen
    with pytest.raises(CodedError, match="19 stacks, told apart by TemporalPosition") as refusal:
        take(slices_of(headers), "")
    assert refusal.value.full_code == "GEOMETRY.several_stacks"
    assert last.acquired_at == max(facts.acquired_at for facts in stacks)


def test_time_points_of_one_enhanced_image_are_told_apart(test_data: Path) -> None:
    stacks = facts_in(test_data / "mr_vendors_small" / "philips_enhanced_fmri_001")
    assert [facts.stack for facts in stacks] == [f"TemporalPosition={number}" for number in range(1, 5)]


def test_lungs_are_taken_of_the_real_chest_as_ever(test_data: Path) -> None:
    rule = read_pipeline(REPOSITORY / "pipelines" / "ct_lungs" / "pipeline.toml").inputs[0]
    (chest,) = facts_in(test_data / "ct_chest_lidc0001" / "ct")
    assert why_not(rule, chest) is None
    assert (chest.stack, chest.fault, chest.slice_spacing_mm, chest.coverage_mm) == ("", "", pytest.approx(2.5), pytest.approx(250.0))


def test_four_contrasts_of_a_real_brain_lie_on_one_grid(brain: list[SeriesFacts], test_data: Path) -> None:
    paths = {str(read_headers([path])[0].SeriesInstanceUID): path for path in (test_data / "mr_brain_enhanced_nema_tumour").iterdir()}
    (taken,) = choose(INPUTS, brain).sets
    volumes = [
        read_volume(SeriesFiles(series_instance_uid=facts.series_instance_uid, paths=(paths[facts.series_instance_uid],)))
        for facts in taken
    ]
    assert align(volumes).registration == ("reference", "same_grid", "same_grid", "same_grid")
