"""What the encoded objects hold."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.core.errors import EncodeError, IdentityConflict
from node.core.uids import derive_uid
from node.encode.equipment import describe_series
from node.encode.gate import inspect
from node.encode.making import device_uid, to_source_zone
from node.encode.objects import encode
from pipelines.result import LabelMap, Measurement
from tests.unit.encode.sources import EQUIPMENT, MODEL, ORIENTATIONS, PIPELINE, VOLUME, make_case


def attributes(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def read(encoded):
    return dcmread(BytesIO(encoded.content))


def encode_case(case):
    return encode(case.inference, case.job, EQUIPMENT, PIPELINE)


def test_the_same_job_gives_the_same_bytes(case, objects):
    again = encode_case(make_case())
    assert [encoded.content for encoded in again] == [encoded.content for encoded in objects]


def test_another_job_gives_other_identifiers(case, objects):
    other = encode(case.inference, replace(case.job, revision=2), EQUIPMENT, PIPELINE)
    assert not {o.sop_instance_uid for o in other} & {o.sop_instance_uid for o in objects}
    assert not {o.series_instance_uid for o in other} & {o.series_instance_uid for o in objects}


def test_no_identifier_is_drawn_at_random(case, objects):
    """Every UID in the objects is one of the source's, one that the job or the model derives, or one of DICOM's own."""
    job, grid = case.job, case.inference.volume.grid
    kinds = ("SEG", "SR")
    derived = {job.derive_uid(kind, part) for kind in kinds for part in ("series", "instance", "dimension organization")}
    derived |= {derive_uid("coding scheme", "99RADNODE")}
    derived |= {job.derive_uid("tracking", label) for label in ("1", "2")} | {device_uid(MODEL)}
    source = {*grid.sop_instance_uids, *job.series_instance_uids, job.study_instance_uid, grid.frame_of_reference_uid}
    for encoded in objects:
        uids = {str(element.value) for element in read(encoded).iterall() if element.VR == "UI"}
        assert {uid for uid in uids if not uid.startswith("1.2.840.10008.")} <= derived | source


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_passes_the_gate(orientation):
    case = make_case(orientation)
    inspect(encode_case(case), case.inference, case.job, PIPELINE)


def test_encoding_changes_nothing_in_the_source():
    case = make_case()
    before = [header.to_json() for header in case.inference.volume.headers]
    encode_case(case)
    assert [header.to_json() for header in case.inference.volume.headers] == before


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "王^小东=王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_a_name_is_the_same_in_every_character_set(charset, name):
    case = make_case(
        header=attributes(
            SpecificCharacterSet=charset, PatientName=name, ReferringPhysicianName="", InstitutionName="", StudyDescription="CT"
        )
    )
    objects = encode_case(case)
    inspect(objects, case.inference, case.job, PIPELINE)
    for dataset in map(read, objects):
        assert str(dataset.PatientName) == name
        assert dataset.SpecificCharacterSet == charset
        assert dataset["PatientName"].value.original_string == case.inference.volume.headers[0]["PatientName"].value.original_string


def test_a_source_without_a_character_set_gives_objects_without_one():
    plain = attributes(PatientName="Doe^Jane", ReferringPhysicianName="", InstitutionName="Here", OperatorsName="")
    case = make_case(header=plain, drop=("SpecificCharacterSet",))
    assert all("SpecificCharacterSet" not in read(encoded) for encoded in encode_case(case))


def test_what_the_source_leaves_empty_stays_empty():
    empty = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime", "ReferringPhysicianName")
    case = make_case(header=attributes(**dict.fromkeys(empty, "")))
    objects = encode_case(case)
    inspect(objects, case.inference, case.job, PIPELINE)
    assert all(not dataset[keyword].value for dataset in map(read, objects) for keyword in empty)


def test_what_the_source_lacks_is_left_empty_and_not_made_up():
    missing = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientAge")
    case = make_case(drop=(*missing, "BodyPartExamined", "Manufacturer", "SliceThickness", "PositionReferenceIndicator"))
    objects = encode_case(case)
    inspect(objects, case.inference, case.job, PIPELINE)
    for dataset in map(read, objects):
        assert all(not dataset.get(keyword) for keyword in missing)
        assert "PatientAge" not in dataset


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_source_that_could_not_be_filed_is_refused(keyword, how):
    case = make_case()
    for header in case.inference.volume.headers:
        if how == "missing":
            delattr(header, keyword)
        else:
            setattr(header, keyword, "")
    with pytest.raises(IdentityConflict, match=keyword):
        encode_case(case)


def test_a_source_of_another_study_than_the_jobs_is_refused(case):
    with pytest.raises(IdentityConflict, match="another study"):
        encode(case.inference, replace(case.job, study_instance_uid="1.2.3"), EQUIPMENT, PIPELINE)


def test_a_source_of_another_series_than_the_jobs_is_refused(case):
    with pytest.raises(IdentityConflict, match="another series"):
        encode(case.inference, replace(case.job, series_instance_uids=("1.2.3",)), EQUIPMENT, PIPELINE)


def test_a_label_that_no_finding_stands_for_is_refused(case):
    array = case.inference.output.array.copy()
    array[5, 5, 5] = 7
    inference = replace(case.inference, output=LabelMap(array=array, grid=case.inference.volume.grid))
    with pytest.raises(EncodeError, match=r"\[7\]"):
        encode(inference, case.job, EQUIPMENT, PIPELINE)


def test_a_finding_without_voxels_has_no_segment_and_no_group(case):
    array = np.where(case.inference.output.array == 2, 2, 0).astype(np.uint8)
    inference = replace(case.inference, output=LabelMap(array=array, grid=case.inference.volume.grid))
    objects = encode(inference, case.job, EQUIPMENT, PIPELINE)
    inspect(objects, inference, case.job, PIPELINE)
    assert [segment.SegmentLabel for segment in read(objects[0]).SegmentSequence] == ["Left lung"]


def test_a_value_that_is_no_number_is_refused(case):
    finding = replace(
        case.inference.findings[0],
        measurements=(Measurement(name=VOLUME, value=float("nan"), unit=case.inference.findings[0].measurements[0].unit),),
    )
    with pytest.raises(EncodeError, match="finite"):
        encode(replace(case.inference, findings=(finding, case.inference.findings[1])), case.job, EQUIPMENT, PIPELINE)


def test_a_modality_without_a_procedure_is_refused():
    case = make_case(header=attributes(Modality="US"))
    with pytest.raises(EncodeError, match="'US'"):
        encode_case(case)


def test_the_series_description_always_says_unverified():
    text = describe_series("SEG", "Lung volumes", "1.0.0")
    assert text == "AI Lung volumes 1.0.0 SEG - UNVERIFIED"
    long = describe_series("SEG", "x" * 24, "2026.11.20+build.0123456789abcdef")
    assert len(long) == 64
    assert long.endswith(" SEG - UNVERIFIED")


def test_the_model_is_described_as_contributing_equipment(objects):
    for dataset in map(read, objects):
        scanner, model = dataset.ContributingEquipmentSequence
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert scanner.InstitutionName == "Hôpital"
        assert model.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert (model.ManufacturerModelName, model.SoftwareVersions, model.DeviceUID) == ("ct_lungs", "1.0.0", device_uid(MODEL))


def test_another_model_digest_is_another_device():
    assert device_uid(MODEL) != device_uid(replace(MODEL, digest="00" * 32))


def test_an_object_is_dated_when_its_job_was_queued_in_the_sources_own_time_zone():
    case = make_case(header=attributes(TimezoneOffsetFromUTC="-0930"))
    for dataset in map(read, encode_case(case)):
        assert (dataset.SeriesDate, dataset.SeriesTime) == ("20260303", "193607.000089")
        assert dataset.TimezoneOffsetFromUTC == "-0930"
        assert dataset.ContributingEquipmentSequence[-1].ContributionDateTime == "20260303193607.000089-0930"


@pytest.mark.parametrize("text", ["", "0100", "+99", "+ab00", "+9900"])
def test_a_time_zone_that_cannot_be_read_changes_nothing(text):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert to_source_zone(moment, {"TimezoneOffsetFromUTC": text}).utcoffset() == moment.utcoffset()


def test_the_segmentation_leaves_out_what_is_empty_and_names_no_person(case, objects):
    dataset = read(objects[0])
    used = [(case.inference.output.array == label).any(axis=(1, 2)).sum() for label in (1, 2)]
    assert dataset.NumberOfFrames == sum(used)
    assert dataset["ContentCreatorName"].is_empty
    assert "OperatorsName" not in dataset
    assert dataset.BodyPartExamined == "CHEST"


def test_private_attributes_of_the_source_are_not_carried_on():
    private = Dataset()
    private.private_block(0x0011, "SCANNER WORKS", create=True).add_new(1, "LO", "secret")
    case = make_case(header=private)
    objects = encode_case(case)
    inspect(objects, case.inference, case.job, PIPELINE)


def test_a_slice_spacing_that_the_source_states_wrongly_is_not_believed():
    case = make_case(header=attributes(SpacingBetweenSlices="7"))
    shared = read(encode_case(case)[0]).SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SpacingBetweenSlices == 2.5


def test_positions_that_a_scanner_rounded_unevenly_pass_the_gate():
    case = make_case()
    for index, header in enumerate(case.inference.volume.headers):
        x, y, z = header.ImagePositionPatient
        header.ImagePositionPatient = [x, y, float(z) + 0.09 * (-1) ** index]
    inspect(encode_case(case), case.inference, case.job, PIPELINE)


def test_our_text_is_written_in_the_character_set_of_the_source():
    german = PIPELINE.model_copy(update={"title": "Lungengröße"})
    case = make_case()
    objects = encode(case.inference, case.job, EQUIPMENT, german)
    inspect(objects, case.inference, case.job, PIPELINE)
    assert read(objects[0]).SeriesDescription == "AI Lungengröße 1.0.0 SEG - UNVERIFIED"


def test_text_that_the_source_cannot_write_is_refused():
    german = PIPELINE.model_copy(update={"title": "Lungengröße"})
    plain = attributes(PatientName="Doe^Jane", ReferringPhysicianName="", InstitutionName="Here", OperatorsName="")
    case = make_case(header=plain, drop=("SpecificCharacterSet",))
    with pytest.raises(EncodeError, match="Lungengröße"):
        encode(case.inference, case.job, EQUIPMENT, german)


def test_an_outline_that_the_report_cannot_hold_is_refused():
    case = make_case(shape=(3, 300, 300))
    comb = np.zeros((3, 300, 300), dtype=np.uint8)
    comb[1, 0::6, :] = 1
    comb[1, :, 0] = 1
    comb[1, 1::6, 0::2] = comb[1, 5::6, 0::2] = 1  # teeth along every bar
    comb[2, :9, :9] = 2
    inference = replace(case.inference, output=LabelMap(array=comb, grid=case.inference.volume.grid))
    with pytest.raises(EncodeError, match="too ragged"):
        encode(inference, case.job, EQUIPMENT, PIPELINE)
