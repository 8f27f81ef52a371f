"""Which jobs a study gives rise to, and for each pipeline and series the reason why there is none."""

import shutil
from dataclasses import replace

import pytest
from pydicom import dcmread

from node.core.study import Instance
from node.intake.route import route
from pipelines.catalog import load_catalog
from pipelines.rules import Input
from tests.integration.intake.assembly import CATALOG, REPOSITORY, Assembly, chest
from tests.unit.intake.arrivals import encode_odd, sent, sent_from

UIDS = {
    "sop_instance_uid": "SOPInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "series_instance_uid": "SeriesInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
}


def reasons(assembly):
    (row,) = assembly.events("study.not_applicable")
    return row.code, row.detail


def as_modality(datasets, modality, sop_class):
    for dataset in datasets:
        dataset.Modality, dataset.SOPClassUID = modality, sop_class
    return datasets


@pytest.mark.parametrize(("modality", "sop_class"), [("MR", "1.2.840.10008.5.1.4.1.1.4"), ("CR", "1.2.840.10008.5.1.4.1.1.1")])
def test_another_modality_is_not_applicable_and_each_series_says_why(assembly, modality, sop_class):
    assembly.receive(as_modality(chest(), modality, sop_class))
    assembly.receive(as_modality(chest(3, seed=1), modality, sop_class))
    assembly.complete()
    code, detail = reasons(assembly)
    assert code == "NO_USABLE_SERIES.modality"
    assert len(detail["series"]) == 2
    assert all(f"Modality is {modality}" in reason for reason in detail["series"].values())
    assert assembly.rows("study")[0]["state"] == "processed", "nothing is to be done, so nothing is in limbo"
    assert assembly.rows("work") == []


def test_too_few_slices_are_not_applicable(assembly):
    assembly.receive(chest(5))
    assembly.complete()
    code, detail = reasons(assembly)
    assert code == "NO_USABLE_SERIES.instances"
    assert "5 instances" in next(iter(detail["series"].values()))


def test_of_a_mixed_study_the_fitting_series_is_taken(assembly):
    taken = chest()
    assembly.receive(taken + as_modality(chest(3, seed=1), "MR", "1.2.840.10008.5.1.4.1.1.4") + chest(4, seed=2))
    assembly.complete()
    (job,) = assembly.rows("work")
    assert job["series_instance_uids"] == [taken[0].SeriesInstanceUID]


def test_a_study_of_two_patients_is_refused(assembly):
    datasets = chest()
    for dataset in datasets[10:]:
        dataset.PatientID = "PHANTOM-2"
    assembly.receive(datasets)
    assembly.complete()
    code, detail = reasons(assembly)
    assert code == "IDENTITY_CONFLICT.mixed"
    assert "PHANTOM" not in str(detail)
    assert assembly.rows("work") == []


def test_a_second_patient_in_another_series_is_refused_too(assembly):
    assembly.receive(chest() + chest(3, seed=1, patient_id="PHANTOM-2"))
    assembly.complete()
    assert reasons(assembly)[0] == "IDENTITY_CONFLICT.mixed"


def test_an_unavailable_pipeline_says_why(tmp_path, database):
    models = tmp_path / "models"
    shutil.copytree(REPOSITORY / "models", models, ignore=shutil.ignore_patterns("__pycache__"))
    script = next(models.glob("ct_lungs/scripts/lungs.py"))
    script.write_text(script.read_text() + "\n")
    catalog = load_catalog(REPOSITORY / "pipelines", models)
    with Assembly(tmp_path, database, catalog=catalog) as assembly:
        assembly.receive(chest())
        assembly.complete()
        code, detail = reasons(assembly)
        assert code.startswith("DIGEST_MISMATCH")
        assert detail["pipeline"] == "ct_lungs"
        assert assembly.rows("work") == []


def test_two_pipelines_answer_for_themselves(tmp_path, database):
    """One takes the study, the other says why not."""
    entry = CATALOG.available["ct_lungs"]
    given = entry.pipeline.inputs[0].model_copy(update={"modality": ("MR",)})
    brain = replace(entry, pipeline=entry.pipeline.model_copy(update={"name": "mr_brain", "inputs": (given,)}))
    catalog = replace(CATALOG, available={**CATALOG.available, "mr_brain": brain})
    with Assembly(tmp_path, database, catalog=catalog, enabled=("mr_brain", "ct_lungs")) as assembly:
        assembly.receive(chest())
        assembly.complete()
        assert [job["pipeline"] for job in assembly.rows("work")] == ["ct_lungs"]
        code, detail = reasons(assembly)
        assert (code, detail["pipeline"]) == ("NO_USABLE_SERIES.modality", "mr_brain")


def before_and_after(**after):
    """A catalogue with one pipeline of two inputs: the chest after contrast, and before it."""
    entry = CATALOG.available["ct_lungs"]
    (given,) = entry.pipeline.inputs
    inputs = tuple(
        Input.model_validate(given.model_dump() | {"name": name, "contrast": contrast, **more})
        for name, contrast, more in (("after", "given", after), ("before", "none", {}))
    )
    return replace(CATALOG, available={"ct_lungs": replace(entry, pipeline=entry.pipeline.model_copy(update={"inputs": inputs}))})


def with_contrast(datasets):
    for dataset in datasets:
        dataset.ContrastBolusAgent = "Iomeron"
    return datasets


def test_a_pipeline_of_two_inputs_gets_one_job_with_both_in_order(tmp_path, database):
    native, enhanced = chest(), with_contrast(chest(seed=1))
    with Assembly(tmp_path, database, catalog=before_and_after()) as assembly:
        assembly.receive(native + enhanced)
        assembly.complete()
        (job,) = assembly.rows("work")
        assert job["series_instance_uids"] == [enhanced[0].SeriesInstanceUID, native[0].SeriesInstanceUID]
        assert job["stacks"] is None


def test_the_input_that_is_missing_is_named(tmp_path, database):
    with Assembly(tmp_path, database, catalog=before_and_after()) as assembly:
        assembly.receive(chest())
        assembly.complete()
        (row,) = assembly.events("study.not_applicable")
        assert row.code == "NO_USABLE_SERIES.incomplete"
        assert "Input after: no series fits." in row.detail["sentence"]
        assert assembly.rows("work") == []


def test_a_change_in_the_second_input_is_another_input(tmp_path):
    digests = set()
    for number in (1, 2):
        native, enhanced = chest(seed=number), with_contrast(chest())
        with Assembly(tmp_path / str(number), f"sqlite:///{tmp_path}/{number}.db", catalog=before_and_after()) as assembly:
            assembly.receive(native + enhanced)
            assembly.complete()
            digests.add(assembly.rows("work")[0]["input_sha256"])
    assert len(digests) == 2


def test_phases_of_one_series_are_taken_by_a_rule_that_asks_for_them_and_by_no_other(tmp_path, database):
    phases = chest()
    for dataset in chest():
        dataset.SOPInstanceUID, dataset.TemporalPositionIdentifier = f"{dataset.SOPInstanceUID}.2", 2
        phases.append(dataset)
    for dataset in phases[:30]:
        dataset.TemporalPositionIdentifier = 1
    entry = CATALOG.available["ct_lungs"]
    (given,) = entry.pipeline.inputs
    asking = given.model_copy(update={"stacks_by": ("TemporalPosition",), "choose": "all"})
    each = replace(entry, pipeline=entry.pipeline.model_copy(update={"name": "each_phase", "inputs": (asking,)}))
    catalog = replace(CATALOG, available={**CATALOG.available, "each_phase": each})
    with Assembly(tmp_path, database, catalog=catalog, enabled=("each_phase", "ct_lungs")) as assembly:
        assembly.receive(phases)
        assembly.complete()
        jobs = assembly.rows("work")
        assert sorted(job["stacks"][0] for job in jobs) == ["TemporalPosition=1", "TemporalPosition=2"]
        assert len({job["id"] for job in jobs}) == len({job["input_sha256"] for job in jobs}) == 2
        code, detail = reasons(assembly)
        assert (code, detail["pipeline"]) == ("NO_USABLE_SERIES.stacks", "ct_lungs")


def test_four_contrasts_of_a_real_brain_become_one_job_in_order(test_data):
    """As the shipped declaration asks for them: after and before contrast, T2, FLAIR."""
    paths, instances, described = {}, [], {}
    for path in sorted((test_data / "mr_brain_enhanced_nema_tumour").iterdir()):
        header = dcmread(path, stop_before_pixels=True)
        uids = {name: str(header[keyword].value) for name, keyword in UIDS.items()}
        described[uids["series_instance_uid"]] = header.SeriesDescription
        paths[uids["sop_instance_uid"]] = path
        instances.append(Instance(**uids, transfer_syntax_uid="1.2", patient_id="1", modality="MR", key=path.name, sha256="0", size=1))
    catalog = load_catalog(REPOSITORY / "pipelines", REPOSITORY / "models")
    (taken,) = route(instances, paths, catalog, ["mr_brain_lesion"]).taken
    assert [described[uid] for uid in taken.series_instance_uids] == [
        "* T1 AXIAL POST GAD",
        "* T1 AXIAL PRE GAD",
        "* T2 FSE AXIAL",
        "* FLAIR AXIAL",
    ]
    assert taken.stacks == ()
    without = [instance for instance in instances if "FLAIR" not in described[instance.series_instance_uid]]
    (refused,) = route(without, paths, catalog, ["mr_brain_lesion"]).not_taken
    assert (refused.code, refused.sentence) == ("NO_USABLE_SERIES.incomplete", "Input flair: no series fits.")


def test_without_pipelines_a_study_is_only_kept(tmp_path, database):
    with Assembly(tmp_path, database, enabled=()) as assembly:
        assembly.receive(chest(3))
        assert assembly.complete() == 1
        assert assembly.rows("study")[0]["state"] == "processed"


def test_a_file_that_is_gone_is_a_reason_and_holds_nothing_up(assembly):
    datasets = chest()
    assembly.receive(datasets + chest(study_name="other"))
    for row in assembly.rows("instance"):
        if row["study_instance_uid"] == datasets[0].StudyInstanceUID:
            assembly.spool.path(row["key"]).unlink()
    assert assembly.complete() == 2
    assert reasons(assembly)[0].startswith("NO_USABLE_SERIES")
    assert len(assembly.rows("work")) == 1


ODD_VALUES = {
    "thickness": (0x00180050, b"DS", b"thick!"),
    "orientation": (0x00200037, b"DS", b"1\\0\\x\\0\\1\\0 "),
    "position": (0x00200032, b"DS", b"NaN\\1e999\\ "),
    "image_type": (0x00080008, b"CS", b"\xff\xfe\\\\"),
    "number_type": (0x00180050, b"US", b"\x01"),
    "sequence": (0x00180050, b"SQ", b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd"),
    "description": (0x0008103E, b"LO", b"\x1b$)C\xff\xff\x00"),
    "charset": (0x00080005, b"CS", b"ISO_IR 999\\x"),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", ODD_VALUES)
def test_an_odd_value_holds_no_other_study_up(tmp_path, name):
    """Whatever the headers of one study hold: the sweep ends, the study is judged, and the next one too."""
    tag, vr, value = ODD_VALUES[name]
    odd = chest()
    with Assembly(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}") as assembly:
        for dataset in odd:
            content = encode_odd(dataset, tag, vr, value)
            assert sent(content, sop_class=dataset.SOPClassUID, instance=dataset.SOPInstanceUID).to(assembly.receiver) == 0
        assembly.receive(chest(study_name="other"))
        assert assembly.complete() == 2
        assert {study["state"] for study in assembly.rows("study")} <= {"complete", "processed"}
        assert len(assembly.rows("work")) >= 1


def test_a_fault_of_our_own_closes_the_study_with_a_code(assembly):
    """Whatever breaks while a study is judged is one study's trouble: the listener goes on, and an operator can see it."""

    class Broken:
        available = property(lambda self: 1 / 0)

    assembly.receive(chest())
    assembly.assembler._catalog, whole = Broken(), assembly.assembler._catalog
    assert assembly.complete() == 1
    code, detail = reasons(assembly)
    assert (code, detail["pipeline"]) == ("CRASHED.unexpected", "ct_lungs")
    assembly.assembler._catalog = whole
    assembly.receive(chest(study_name="next"))
    assert assembly.complete() == 1
    assert len(assembly.rows("work")) == 1


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_study_of_the_collection_is_judged(tmp_path, test_data):
    """The whole collection in one sweep: each study ends with jobs or with the reasons why not."""
    with Assembly(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}") as assembly:
        for path in sorted(test_data.rglob("*.dcm")):
            if found := sent_from(path):
                found.to(assembly.receiver)
        assembly.flush()
        studies = len(assembly.rows("study"))
        assert studies > 60
        completed = 0
        for _ in range(20):
            completed += assembly.complete()
        assert completed == studies
        judged = {row.study_instance_uid for row in assembly.events() if row.event in ("job.queued", "study.not_applicable")}
        assert judged == {study["study_instance_uid"] for study in assembly.rows("study")}
        assert len(assembly.rows("work")) >= 1, "the LIDC chest is one that fits"
        for row in assembly.events("study.not_applicable"):
            assert row.code
            assert row.detail["sentence"]


def test_what_the_spool_holds_is_read_from_where_the_ledger_says(assembly):
    datasets = chest()
    assembly.receive(datasets)
    for row in assembly.rows("instance"):
        assert dcmread(assembly.spool.path(row["key"])).SOPInstanceUID == row["sop_instance_uid"]
