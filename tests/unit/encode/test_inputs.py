"""Several inputs are all named, and are of one patient; frames of multi-frame instances are named by instance and number."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

from node.core.errors import EncodeError, IdentityConflict
from node.encode.content import name_of, walk
from node.encode.gate import inspect
from node.encode.objects import encode
from pipelines.measure import measure
from pipelines.result import Inference, LabelMap
from pipelines.series import read_volume
from tests.phantoms import multiframe, oblique, tiny_ct, write_series
from tests.unit.encode.mutations import mutate, put
from tests.unit.encode.sources import EQUIPMENT, MODEL, NODULES, PIPELINE, Case, make_boxes, make_job, with_output, with_second_input

SHUFFLED = (3, 0, 5, 1, 4, 2)


@pytest.fixture(scope="module")
def pair(case):
    """A case whose bundle took two series."""
    return with_second_input(case)


@pytest.fixture(scope="module")
def of_pair(pair):
    """Its objects."""
    return encode(pair.inference, pair.job, EQUIPMENT, PIPELINE)


def test_every_input_is_named(pair, of_pair):
    inspect(of_pair, pair.inference, pair.job, PIPELINE)
    segmentation, report = (dcmread(BytesIO(made.content)) for made in of_pair)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    second = {header.SOPInstanceUID for header in pair.inference.others[0].headers}
    assert len(second) == 12
    assert second <= {item.ReferencedSOPInstanceUID for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence}
    assert second <= {item.ReferencedSOPInstanceUID for item in segmentation.SourceImageSequence}
    assert [series.SeriesInstanceUID for series in segmentation.ReferencedSeriesSequence] == list(pair.job.series_instance_uids)


def lose_second_series(dataset):
    dataset.ReferencedSeriesSequence.pop()


def lose_source(dataset):
    dataset.SourceImageSequence.pop()


def lose_evidence(dataset):
    dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.pop(1)


@pytest.mark.parametrize(
    ("kind", "change", "failure"),
    [
        ("SEG", lose_second_series, "Referenced Series"),
        ("SEG", lose_source, "Source Image Sequence"),
        ("SEG", put("ReferencedSOPClassUID", "1.2.3", "SourceImageSequence", 0), "another SOP class"),
        ("SR", lose_evidence, "evidence"),
    ],
)
def test_an_input_that_is_not_named_is_caught(pair, of_pair, kind, change, failure):
    with pytest.raises(EncodeError, match=failure):
        inspect(mutate(of_pair, kind, change), pair.inference, pair.job, PIPELINE)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("PatientID", "P-0043", "patient"),
        ("IssuerOfPatientID", "Elsewhere", "patient"),
        ("StudyInstanceUID", "1.2.3", "study"),
        ("PatientID", "", "missing"),
        ("SeriesInstanceUID", "1.2.3", "series"),
    ],
)
def test_inputs_of_two_patients_are_refused(case, keyword, value, reason):
    other = with_second_input(case)
    setattr(other.inference.others[0].headers[3], keyword, value)
    with pytest.raises(IdentityConflict) as refusal:
        encode(other.inference, other.job, EQUIPMENT, PIPELINE)
    assert refusal.value.reason == reason


def test_inputs_in_another_order_than_the_jobs_are_refused(pair):
    turned = replace(pair.job, series_instance_uids=pair.job.series_instance_uids[::-1])
    with pytest.raises(IdentityConflict, match="another series"):
        encode(pair.inference, turned, EQUIPMENT, PIPELINE)


def test_objects_for_another_patient_than_the_second_inputs_are_caught(pair, of_pair):
    other = with_second_input(replace(pair, inference=replace(pair.inference, others=()), job=make_job()))
    other.inference.others[0].headers[0].PatientID = "P-0043"
    with pytest.raises(EncodeError, match="PatientID is not that of every input"):
        inspect(of_pair, other.inference, pair.job, PIPELINE)


@pytest.fixture(scope="module", params=[EnhancedCTImageStorage, EnhancedMRImageStorage], ids=["CT", "MR"])
def enhanced(request, tmp_path_factory):
    """A case on one multi-frame instance whose frames are out of order, and that instance."""
    datasets = tiny_ct(orientation=oblique(), spacing_mm=(5.0, 1.5, 2.5))
    image = multiframe(datasets, SHUFFLED)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = request.param
    image.Modality = "CT" if request.param == EnhancedCTImageStorage else "MR"
    volume = read_volume(write_series([image], tmp_path_factory.mktemp("enhanced")))
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[1:4, 3:9, 4:11] = 1
    labels[3:5, 9:13, 12:18] = 2
    output = LabelMap(array=labels, grid=volume.grid)
    pipeline = PIPELINE.model_copy(
        update={"labels": (PIPELINE.labels[0], PIPELINE.labels[0].model_copy(update={"value": 2, "name": "Left lung"}))}
    )
    findings = measure(pipeline, volume, output)
    inference = Inference(pipeline="ct_lungs", model=MODEL, volume=volume, output=output, findings=findings, device="cpu", seconds={})
    job = replace(make_job(), study_instance_uid=str(image.StudyInstanceUID), series_instance_uids=(volume.series_instance_uid,))
    return Case(inference=inference, job=job), image


@pytest.fixture(scope="module")
def of_enhanced(enhanced):
    """Its objects."""
    return encode(enhanced[0].inference, enhanced[0].job, EQUIPMENT, PIPELINE)


def test_each_frame_names_its_source_frame(enhanced, of_enhanced):
    case, image = enhanced
    inspect(of_enhanced, case.inference, case.job, PIPELINE)
    segmentation = dcmread(BytesIO(of_enhanced[0].content))
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (image.SOPClassUID, image.SOPInstanceUID)
        theirs = image.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        assert groups.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(theirs.ImagePositionPatient, abs=1e-3)
    (series,) = segmentation.ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [image.SOPInstanceUID]


def test_an_outline_names_the_frame_that_it_lies_on(enhanced, of_enhanced):
    case, _ = enhanced
    report = dcmread(BytesIO(of_enhanced[1].content))
    references = [item.ContentSequence[0].ReferencedSOPSequence[0] for item in walk(report) if item.ValueType == "SCOORD"]
    # label 1 is largest in slice 1, label 2 in slice 3: the frames that hold them are those that SHUFFLED put there
    assert [reference.ReferencedFrameNumber for reference in references] == [SHUFFLED.index(1) + 1, SHUFFLED.index(3) + 1]
    assert case.inference.volume.grid.frame_numbers[1] == SHUFFLED.index(1) + 1


def test_a_box_names_the_frame_that_it_lies_on(enhanced):
    case = with_output(enhanced[0], NODULES, make_boxes(enhanced[0]))
    box = replace(case.inference.output.boxes[0], center_mm=tuple((case.inference.volume.grid.affine @ [3.2, 8, 9, 1])[:3].tolist()))
    case = with_output(case, NODULES, replace(case.inference.output, boxes=(box,)))
    (made,) = encode(case.inference, case.job, EQUIPMENT, NODULES)
    inspect([made], case.inference, case.job, NODULES)
    (region,) = [item for item in walk(dcmread(BytesIO(made.content))) if item.ValueType == "SCOORD"]
    assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == SHUFFLED.index(3) + 1


SOURCE = ("PerFrameFunctionalGroupsSequence", 0, "DerivationImageSequence", 0, "SourceImageSequence", 0)


def in_outline(change):
    return lambda report: change(
        next(item for item in walk(report) if name_of(item) == "111030").ContentSequence[0].ReferencedSOPSequence[0]
    )


def forget_frame(item):
    del item.ReferencedFrameNumber


def forget_source_frame(segmentation):
    forget_frame(segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0])


@pytest.mark.parametrize(
    ("kind", "change", "failure"),
    [
        ("SEG", put("ReferencedFrameNumber", 3, *SOURCE), "position is not"),
        ("SEG", put("ReferencedFrameNumber", 9, *SOURCE), "names no source instance"),
        ("SEG", put("ReferencedFrameNumber", [1, 2], *SOURCE), "names no source instance"),
        ("SEG", forget_source_frame, "names no source instance"),
        ("SEG", put("ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.2", *SOURCE), "another SOP class"),
        ("SR", in_outline(put("ReferencedFrameNumber", 3)), "where the segment is not"),
        ("SR", in_outline(forget_frame), "where the segment is not"),
    ],
)
def test_a_wrong_frame_is_caught(enhanced, of_enhanced, kind, change, failure):
    case, _ = enhanced
    with pytest.raises(EncodeError, match=failure):
        inspect(mutate(of_enhanced, kind, change), case.inference, case.job, PIPELINE)
