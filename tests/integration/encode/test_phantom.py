"""From the files of a series to objects that prove themselves: reader, measurements, encoder and gate in one go."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.encode.gate import inspect
from node.encode.objects import encode
from node.encode.preview import draw_overlay
from pipelines.measure import measure
from pipelines.phantom import make_chest_ct, write_datasets
from pipelines.picture import read_picture
from pipelines.result import Inference, LabelMap, Scores, SeriesFiles
from pipelines.series import read_volume
from pipelines.spec import read_pipeline
from tests.phantoms import multiframe
from tests.unit.encode.sources import EQUIPMENT, FINDINGS, MODEL, ORIENTATIONS, make_job

DECLARATION = Path(__file__).parents[3] / "pipelines" / "ct_lungs" / "pipeline.toml"


def infer(paths, series_instance_uid, labels):
    """Make the inference that a model would make which finds exactly ``labels``; return it with its pipeline and job."""
    pipeline = read_pipeline(DECLARATION)
    volume = read_volume(SeriesFiles(series_instance_uid=series_instance_uid, paths=tuple(paths)))
    label_map = LabelMap(array=labels, grid=volume.grid)
    inference = Inference(
        pipeline=pipeline.name,
        model=MODEL,
        volume=volume,
        output=label_map,
        findings=measure(pipeline, volume, label_map),
        device="cpu",
        seconds={},
    )
    study = str(volume.headers[0].StudyInstanceUID)
    return inference, pipeline, replace(make_job(), study_instance_uid=study, series_instance_uids=(series_instance_uid,))


@pytest.mark.parametrize("orientation", ["axial", "prone", "oblique"])
def test_a_phantom_that_was_read_from_files_gives_objects_that_pass_the_gate(orientation, tmp_path):
    phantom = make_chest_ct(shape=(24, 64, 80), spacing_mm=(12.0, 3.0, 3.0), orientation=ORIENTATIONS[orientation])
    paths = sorted(write_datasets(phantom.datasets, tmp_path))
    inference, pipeline, job = infer(paths, phantom.series_instance_uid, phantom.labels)
    objects = encode(inference, job, EQUIPMENT, pipeline)
    inspect(objects, inference, job, pipeline)
    (tmp_path / "seg").write_bytes(objects[0].content)
    draw_overlay(paths, tmp_path / "seg", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 50_000


def test_the_frames_of_an_enhanced_phantom_are_referenced_one_by_one(tmp_path):
    phantom = make_chest_ct(shape=(12, 64, 80), spacing_mm=(24.0, 3.0, 3.0), orientation=ORIENTATIONS["oblique"])
    order = np.random.default_rng(3).permutation(12)
    image = multiframe(phantom.datasets, order)
    paths = write_datasets([image], tmp_path)
    inference, pipeline, job = infer(paths, phantom.series_instance_uid, phantom.labels)
    objects = encode(inference, job, EQUIPMENT, pipeline)
    inspect(objects, inference, job, pipeline)
    segmentation = dcmread(BytesIO(objects[0].content))
    for frame, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        number = int(source.ReferencedFrameNumber)
        assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
        place = image.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(groups.PlanePositionSequence[0].ImagePositionPatient, place, atol=1e-3)
        label = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        np.testing.assert_array_equal(frame == 1, phantom.labels[order[number - 1]] == label)


def test_a_real_chest_gives_objects_that_pass_the_gate(test_data):
    """Real headers: what a crude threshold finds in them is not the point."""
    paths = sorted((test_data / "ct_chest_lidc0001" / "ct").glob("*.dcm"))
    first = read_volume(SeriesFiles(series_instance_uid=series_of(paths[0]), paths=tuple(paths)))
    labels = (first.array < -500).astype("uint8")
    labels[:, :, 256:] *= 2
    inference, pipeline, job = infer(paths, first.series_instance_uid, labels)
    inspect(encode(inference, job, EQUIPMENT, pipeline), inference, job, pipeline)


def series_of(path):
    """Read the Series Instance UID of a file."""
    return str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


def test_a_real_multi_frame_image_gives_objects_that_pass_the_gate(test_data, tmp_path):
    path = test_data / "mr_brain_enhanced_nema_tumour" / "BRTUM003.dcm"
    volume = read_volume(SeriesFiles(series_instance_uid=series_of(path), paths=(path,)))
    labels = (volume.array > np.percentile(volume.array, 95)).astype("uint8")
    inference, pipeline, job = infer([path], volume.series_instance_uid, labels)
    objects = encode(inference, job, EQUIPMENT, pipeline)
    inspect(objects, inference, job, pipeline)
    (tmp_path / "seg").write_bytes(objects[0].content)
    draw_overlay([path], tmp_path / "seg", tmp_path / "picture.png")
    segmentation, source = dcmread(tmp_path / "seg"), dcmread(path)
    stored, seen = segmentation.pixel_array, source.pixel_array
    threshold = min(seen[frame_of(groups) - 1][mask > 0].min() for groups, mask in frames_of(segmentation, stored))
    assert threshold > np.percentile(seen, 90)


def frames_of(segmentation, stored):
    return zip(segmentation.PerFrameFunctionalGroupsSequence, stored, strict=True)


def frame_of(groups):
    return groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber


def test_a_real_radiograph_gives_a_report_that_passes_the_gate(test_data):
    """It has no Frame of Reference, and no place in the patient."""
    path = test_data / "xr_us_mg_sc" / "cr_chest_pa_rsna_jpegbaseline.dcm"
    volume = read_picture(SeriesFiles(series_instance_uid=series_of(path), paths=(path,)))
    scores = Scores(values={0: 0.75, 1: 0.125}, grid=volume.grid)
    inference = Inference(
        pipeline="scores",
        model=MODEL,
        volume=volume,
        output=scores,
        findings=measure(FINDINGS, volume, scores),
        device="cpu",
        seconds={},
    )
    study = str(volume.headers[0].StudyInstanceUID)
    job = replace(make_job(), study_instance_uid=study, series_instance_uids=(volume.series_instance_uid,))
    (report,) = encode(inference, job, EQUIPMENT, FINDINGS)
    inspect([report], inference, job, FINDINGS)
    assert report.kind == "SR"
