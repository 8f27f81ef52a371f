"""The gate bites: each mutation of good objects is caught, and the good objects pass."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from node.core.errors import EncodeError
from node.encode.gate import find_failures, inspect
from node.encode.objects import encode
from pipelines.result import LabelMap
from tests.unit.encode.mutations import drop, mutate, put
from tests.unit.encode.sources import EQUIPMENT, PIPELINE

FRAME = ("PerFrameFunctionalGroupsSequence", 0)
SEGMENT = ("SegmentSequence", 0)
SHARED = ("SharedFunctionalGroupsSequence", 0)
MEASURES = (*SHARED, "PixelMeasuresSequence", 0)
MODEL_ITEM = ("ContributingEquipmentSequence", -1)
SIDE = (*SEGMENT, "SegmentedPropertyTypeCodeSequence", 0, "SegmentedPropertyTypeModifierCodeSequence", 0)


def add_private(dataset):
    dataset.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", "x")


def swap_frames(dataset):
    """Exchange the segments of the frames: the left lung is called the right one."""
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        identification = groups.SegmentIdentificationSequence[0]
        identification.ReferencedSegmentNumber = 3 - identification.ReferencedSegmentNumber


def flip_bit(dataset):
    content = bytearray(dataset.PixelData)
    content[len(content) // 2] ^= 1
    dataset.PixelData = bytes(content)


def cut_pixels(dataset):
    dataset.PixelData = dataset.PixelData[:-200]


def add_pixels(dataset):
    dataset.PixelData += bytes(200)


def lose_frame(dataset):
    dataset.PerFrameFunctionalGroupsSequence.pop()
    dataset.NumberOfFrames -= 1


def repeat_frame(dataset):
    dataset.PerFrameFunctionalGroupsSequence[1] = dataset.PerFrameFunctionalGroupsSequence[0]


def move_all_frames(dataset):
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position = groups.PlanePositionSequence[0]
        x, y, z = position.ImagePositionPatient
        position.ImagePositionPatient = [x, y, z + 2.5]


def name_next_source(dataset):
    """Let each frame name the source of the frame after it, so that all lie one slice off."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    uids = [f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for f in frames]
    for groups, uid in zip(frames, [*uids[1:], uids[0]], strict=True):
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = uid


IN_SEGMENTATION = {
    "wrong Frame of Reference": (put("FrameOfReferenceUID", "1.2.3"), "Frame of Reference"),
    "other patient": (put("PatientID", "P-0043"), "PatientID"),
    "other name": (put("PatientName", "Muller^Jurgen"), "PatientName"),
    "other birth date": (put("PatientBirthDate", "19500103"), "PatientBirthDate"),
    "other sex": (put("PatientSex", "F"), "PatientSex"),
    "other issuer": (put("IssuerOfPatientID", "Elsewhere"), "IssuerOfPatientID"),
    "other accession": (put("AccessionNumber", "ACC-18"), "AccessionNumber"),
    "no accession": (drop("AccessionNumber"), "AccessionNumber"),
    "other study": (put("StudyInstanceUID", "1.2.3"), "StudyInstanceUID"),
    "other study id": (put("StudyID", "S2"), "StudyID"),
    "other study date": (put("StudyDate", "20260302"), "StudyDate"),
    "other instance": (put("SOPInstanceUID", "1.2.3"), "SOP Instance UID"),
    "other series": (put("SeriesInstanceUID", "1.2.3"), "Series Instance UID"),
    "other class": (put("SOPClassUID", "1.2.3"), "SOP Class UID"),
    "private attribute": (add_private, "private"),
    "named creator": (put("ContentCreatorName", "Doe^Jane"), "names a person"),
    "named operator": (put("OperatorsName", "Doe^Jane"), "names a person"),
    "no marking": (put("SeriesDescription", "Lung volumes"), "UNVERIFIED"),
    "no contributing equipment": (drop("ContributingEquipmentSequence"), "Contributing Equipment"),
    "no device": (drop("DeviceUID", *MODEL_ITEM), "Contributing Equipment"),
    "other model version": (put("SoftwareVersions", "2.0.0", *MODEL_ITEM), "Contributing Equipment"),
    "no serial number": (drop("DeviceSerialNumber"), "DeviceSerialNumber"),
    "dated today": (put("SeriesDate", "20991231"), "SeriesDate"),
    "other rows": (put("Rows", 43), "Rows"),
    "other orientation": (put("ImageOrientationPatient", [0, 1, 0, 1, 0, 0], *SHARED, "PlaneOrientationSequence", 0), "Orientation"),
    "other pixel spacing": (put("PixelSpacing", [0.8, 0.9], *MEASURES), "Pixel Spacing"),
    "other slice spacing": (put("SpacingBetweenSlices", 5, *MEASURES), "Spacing Between Slices"),
    "no referenced series": (drop("ReferencedSeriesSequence"), "ReferencedSeriesSequence"),
    "other referenced series": (put("SeriesInstanceUID", "1.2.3", "ReferencedSeriesSequence", 0), "Referenced Series"),
    "no plane position": (drop("PlanePositionSequence", *FRAME), "no position"),
    "all frames one slice up": (move_all_frames, "position is not"),
    "all frames on their neighbour's source": (name_next_source, "voxels differ"),
    "no source image": (drop("DerivationImageSequence", *FRAME), "names no source"),
    "segments exchanged": (swap_frames, "voxels differ"),
    "sides exchanged": (put("CodeValue", "7771000", *SIDE), "laterality"),
    "no side": (drop("SegmentedPropertyTypeModifierCodeSequence", *SIDE[:-2]), "laterality"),
    "other label": (put("SegmentLabel", "Left lung", *SEGMENT), "Segment Label"),
    "other tracking id": (put("TrackingID", "Left lung", *SEGMENT), "tracking identifier"),
    "other tracking uid": (put("TrackingUID", "1.2.3", *SEGMENT), "tracking identifier"),
    "other type": (put("CodeValue", "10200004", *SEGMENT, "SegmentedPropertyTypeCodeSequence", 0), "category or type"),
    "no colour": (drop("RecommendedDisplayCIELabValue", *SEGMENT), "colour"),
    "not automatic": (put("SegmentAlgorithmType", "MANUAL", *SEGMENT), "AUTOMATIC"),
    "no algorithm": (drop("SegmentationAlgorithmIdentificationSequence", *SEGMENT), "SegmentationAlgorithmIdentificationSequence"),
    "one bit": (flip_bit, "1 voxels differ"),
    "pixel data cut": (cut_pixels, "too short"),
    "pixel data too long": (add_pixels, "length of the pixel data"),
    "a frame too few": (lose_frame, "have no frame"),
    "a frame twice": (repeat_frame, "already"),
    "wrong number of frames": (put("NumberOfFrames", 50), "Number of Frames"),
    "unknown segment": (put("ReferencedSegmentNumber", 9, *FRAME, "SegmentIdentificationSequence", 0), "no segment"),
}


def groups_of(report):
    return report.ContentSequence[-1].ContentSequence


def items_named(report, group, code):
    content = groups_of(report)[group].ContentSequence
    return [item for item in content if item.ConceptNameCodeSequence[0].CodeValue == code]


def in_group(group, code, change):
    """Make a change to one content item of a measurement group: 0 is the first volume, 1 the first outline."""
    return lambda report: change(items_named(report, group, code)[0])


def change_root(code, change):
    return lambda report: change(next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == code))


def drop_outlines(report):
    for group in (3, 1):
        del groups_of(report)[group]


def drop_outline_only(report):
    group = groups_of(report)[1]
    group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "SCOORD"]


def drop_evidence_of_segmentation(report):
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        study.ReferencedSeriesSequence = [s for s in study.ReferencedSeriesSequence if len(s.ReferencedSOPSequence) > 1]


def shift_outline(region):
    region.GraphicData = [value + 1 for value in region.GraphicData]


def open_outline(region):
    region.GraphicData = list(region.GraphicData)[:-2]


def add_verifier(report):
    observer = Dataset()
    observer.VerifyingObserverName = "Doe^Jane"
    report.VerifyingObserverSequence = [observer]


VALUE = ("MeasuredValueSequence", 0)

IN_REPORT = {
    "verified": (put("VerificationFlag", "VERIFIED"), "unverified"),
    "verified by a person": (add_verifier, "names a person"),
    "final": (put("PreliminaryFlag", "FINAL"), "preliminary"),
    "partial": (put("CompletionFlag", "PARTIAL"), "complete"),
    "other patient": (put("PatientID", "P-0043"), "PatientID"),
    "no study": (drop("StudyInstanceUID"), "StudyInstanceUID"),
    "private attribute": (add_private, "private"),
    "no marking": (put("SeriesDescription", "AI Lung volumes SR"), "UNVERIFIED"),
    "no contributing equipment": (drop("ContributingEquipmentSequence"), "Contributing Equipment"),
    "no evidence": (drop("CurrentRequestedProcedureEvidenceSequence"), "CurrentRequestedProcedureEvidenceSequence"),
    "no evidence of the segmentation": (drop_evidence_of_segmentation, "evidence"),
    "evidence of another study": (put("StudyInstanceUID", "1.2.3", "CurrentRequestedProcedureEvidenceSequence", 0), "evidence"),
    "other template": (put("TemplateIdentifier", "1600", "ContentTemplateSequence", 0), "TID 1500"),
    "observed by a person": (
        change_root("121005", put("CodeValue", "121006", "ConceptCodeSequence", 0)),
        "not a device",
    ),
    "observed by another device": (change_root("121012", put("UID", "1.2.3")), "not the model"),
    "observed by another model": (change_root("121015", put("TextValue", "other")), "not the model"),
    "other tracking uid": (in_group(0, "112040", put("UID", "1.2.3")), "no tracking identifier"),
    "other tracking id": (in_group(0, "112039", put("TextValue", "Left lung")), "Tracking Identifier"),
    "other volume": (in_group(0, "118565006", put("NumericValue", "9.9", *VALUE)), "its volume is not"),
    "volume in litres": (
        in_group(0, "118565006", put("CodeValue", "l", *VALUE, "MeasurementUnitsCodeSequence", 0)),
        "not Volume in ml",
    ),
    "other attenuation": (in_group(0, "112031", put("NumericValue", "-851", *VALUE)), "not the measured value"),
    "other derivation": (
        in_group(0, "112031", put("CodeValue", "56851009", "ContentSequence", 0, "ConceptCodeSequence", 0)),
        "derivation",
    ),
    "other side": (
        in_group(0, "363698007", put("CodeValue", "7771000", "ContentSequence", 0, "ConceptCodeSequence", 0)),
        "laterality",
    ),
    "other finding": (in_group(0, "121071", put("CodeValue", "10200004", "ConceptCodeSequence", 0)), "finding's type"),
    "other algorithm version": (in_group(0, "111003", put("TextValue", "2.0.0")), "algorithm"),
    "other model files": (in_group(0, "111002", put("TextValue", "model_sha256=00")), "digest"),
    "other intended use": (
        lambda report: put("TextValue", "intended_use=Diagnosis.")(items_named(report, 0, "111002")[1]),
        "intended use",
    ),
    "other segment": (in_group(0, "121191", put("ReferencedSegmentNumber", 2, "ReferencedSOPSequence", 0)), "PS3.3"),
    "other segmentation": (in_group(0, "121191", put("ReferencedSOPInstanceUID", "1.2.3", "ReferencedSOPSequence", 0)), "not reference"),
    "other source series": (in_group(0, "121232", put("UID", "1.2.3")), "source series"),
    "no outlines": (drop_outlines, "not of 1410, 1411"),
    "an outline's group without coordinates": (drop_outline_only, "not one outline"),
    "outline beside the segment": (in_group(1, "111030", shift_outline), "outline is not that of the segment"),
    "outline left open": (in_group(1, "111030", open_outline), "outline is not that of the segment"),
    "private codes of nobody": (drop("CodingSchemeIdentificationSequence"), "coding scheme"),
    "other area": (in_group(1, "42798000", put("NumericValue", "1", *VALUE)), "area"),
}


def test_good_objects_pass(case, objects):
    inspect(objects, case.inference, case.job, PIPELINE)


def test_writing_an_object_again_is_no_mutation(case, objects):
    """The mutations below are caught for what they change, not for how the tests write them."""
    for kind in ("SEG", "SR"):
        inspect(mutate(objects, kind, lambda dataset: None), case.inference, case.job, PIPELINE)


@pytest.mark.parametrize("name", IN_SEGMENTATION)
def test_a_mutated_segmentation_is_caught(case, objects, name):
    change, failure = IN_SEGMENTATION[name]
    with pytest.raises(EncodeError) as caught:
        inspect(mutate(objects, "SEG", change), case.inference, case.job, PIPELINE)
    assert failure in caught.value.sentence


@pytest.mark.parametrize("name", IN_REPORT)
def test_a_mutated_report_is_caught(case, objects, name):
    change, failure = IN_REPORT[name]
    with pytest.raises(EncodeError) as caught:
        inspect(mutate(objects, "SR", change), case.inference, case.job, PIPELINE)
    assert failure in caught.value.sentence


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_mask_is_caught(case, axis):
    """Objects that are consistent in themselves, of a mask that is the wrong way round: only the voxels can tell."""
    flipped = np.ascontiguousarray(np.flip(case.inference.output.array, axis))
    wrong = replace(case.inference, output=LabelMap(array=flipped, grid=case.inference.volume.grid))
    objects = encode(wrong, case.job, EQUIPMENT, PIPELINE)
    assert [failure for failure in find_failures(objects, wrong, case.job, PIPELINE) if "volume" not in failure] == []
    with pytest.raises(EncodeError, match="voxels differ"):
        inspect(objects, case.inference, case.job, PIPELINE)


def test_exchanged_labels_are_caught(case):
    array = case.inference.output.array
    swapped = np.choose(array, [0, 2, 1]).astype(np.uint8)
    objects = encode(
        replace(case.inference, output=LabelMap(array=swapped, grid=case.inference.volume.grid)), case.job, EQUIPMENT, PIPELINE
    )
    with pytest.raises(EncodeError, match="have no frame"):
        inspect(objects, case.inference, case.job, PIPELINE)


def test_a_volume_that_was_measured_on_another_mask_is_caught(case):
    first = case.inference.findings[0]
    larger = replace(
        first, measurements=(replace(first.measurements[0], value=first.measurements[0].value * 1.01), *first.measurements[1:])
    )
    wrong = replace(case.inference, findings=(larger, case.inference.findings[1]))
    objects = encode(wrong, case.job, EQUIPMENT, PIPELINE)
    with pytest.raises(EncodeError, match="its volume is not that of the segment's voxels"):
        inspect(objects, wrong, case.job, PIPELINE)


def test_a_grid_that_is_not_the_sources_is_caught(case, objects):
    affine = case.inference.volume.grid.affine.copy()
    affine[2, 3] += 2.5
    grid = replace(case.inference.volume.grid, affine=affine)
    moved = replace(case.inference, output=LabelMap(array=case.inference.output.array, grid=grid))
    with pytest.raises(EncodeError, match="grid is not where"):
        inspect(objects, moved, case.job, PIPELINE)


def test_the_objects_of_another_job_are_caught(case, objects):
    with pytest.raises(EncodeError, match="derived"):
        inspect(objects, case.inference, replace(case.job, revision=2), PIPELINE)


def test_objects_in_the_wrong_order_or_number_are_caught(case, objects):
    for wrong in (objects[::-1], objects[:1], ()):
        with pytest.raises(EncodeError, match="in this order"):
            inspect(wrong, case.inference, case.job, PIPELINE)


def test_a_name_under_another_character_set_is_caught(case, objects):
    content = objects[0].content.replace(b"ISO_IR 100", b"ISO_IR 144")
    with pytest.raises(EncodeError, match="PatientName is not the source's"):
        inspect((replace(objects[0], content=content), objects[1]), case.inference, case.job, PIPELINE)


def test_bytes_that_are_no_file_are_caught(case, objects):
    broken = (replace(objects[0], content=b"not DICOM at all"), objects[1])
    with pytest.raises(EncodeError, match="cannot be read again"):
        inspect(broken, case.inference, case.job, PIPELINE)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of much that it reads here
@pytest.mark.parametrize("kind", [0, 1])
def test_a_damaged_file_is_caught_or_harmless_but_never_breaks_the_gate(case, objects, kind):
    rng = np.random.default_rng(kind)
    caught = 0
    for place in rng.integers(128, len(objects[kind].content), 60):
        content = bytearray(objects[kind].content)
        content[place] ^= 1 << int(rng.integers(8))
        damaged = [replace(o, content=bytes(content)) if o is objects[kind] else o for o in objects]
        caught += bool(list(find_failures(damaged, case.inference, case.job, PIPELINE)))
    assert caught > 20


def test_a_failure_never_quotes_the_patient(case, objects):
    changes = [put(keyword, "Doe^Jane") for keyword in ("PatientName", "PatientID", "ReferringPhysicianName")]
    for change in changes:
        failures = " ".join(find_failures(mutate(objects, "SEG", change), case.inference, case.job, PIPELINE))
        assert "Doe" not in failures
        assert "Müller" not in failures
        assert "P-0042" not in failures


def test_every_failure_is_listed(case, objects):
    changed = mutate(mutate(objects, "SEG", put("PatientID", "x")), "SR", put("VerificationFlag", "VERIFIED"))
    with pytest.raises(EncodeError) as caught:
        inspect(changed, case.inference, case.job, PIPELINE)
    assert "SEG: PatientID" in caught.value.sentence
    assert "SR: it is not unverified" in caught.value.sentence
