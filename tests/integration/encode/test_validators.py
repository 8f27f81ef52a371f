"""Other people's validators and readers on our objects; none of them knows the library that made them."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.encode.objects import encode
from pipelines.result import Channels
from tests.peers import find_tool, missing
from tests.unit.encode.sources import (
    EQUIPMENT,
    FINDINGS,
    NODULES,
    ORIENTATIONS,
    PIPELINE,
    TUMOURS,
    make_boxes,
    make_case,
    make_radiograph,
    make_scores,
    make_tumours,
    with_output,
    with_second_input,
)

#: What dciodvfy cannot know: the Device UID that IHE AIR puts there, and a private coding scheme.
KNOWN = (
    "(0x0018,0x1002) UI Device UID",
    "this is a Standard Extended SOP Class",
    "Unrecognized defined term <99RADNODE> for value 1 of attribute <Coding Scheme Designator>",
    "for value 1 of attribute <Coding Scheme UID>",
)

#: In CID 100 of today, and not in that of its templates.
NEWER_THAN_PIXELMED = 'Code (43468-8,LN,"XR unspecified body region") not found in context group 100'

#: A region on each slice costs PixelMed much time.
FEW = (3, 44, 37)

PIXELMED = Path("/usr/share/java/pixelmed.jar")

MAKE_AND_HASH = """
import hashlib
from tests.unit.encode.sources import EQUIPMENT, PIPELINE, make_case
from node.encode.objects import encode
case = make_case()
for encoded in encode(case.inference, case.job, EQUIPMENT, PIPELINE):
    print(hashlib.sha256(encoded.content).hexdigest())
"""


def run(*command, timeout=100):
    """Run a tool; return its exit code and all that it said."""
    done = subprocess.run([find_tool(command[0]), *map(str, command[1:])], capture_output=True, timeout=timeout, check=False)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def write_all(case, folder, pipeline=PIPELINE):
    """Write the source and the objects of a case as files; return the paths of the objects by kind, and those of the source."""
    paths = {}
    for encoded in encode(case.inference, case.job, EQUIPMENT, pipeline):
        paths[encoded.kind] = folder / f"{encoded.kind}.dcm"
        paths[encoded.kind].write_bytes(encoded.content)
    sources = []
    for index, header in enumerate(case.inference.volume.headers):
        sources.append(folder / f"ct{index}.dcm")
        header.add_new("PixelData", "OW", case.inference.volume.array[index].astype("<i2").tobytes())
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.save_as(sources[-1], enforce_file_format=True)
    return paths, sources


def make_channels():
    case = make_case()
    return with_output(case, TUMOURS, make_tumours(case)), TUMOURS


def make_nothing():
    case = make_case(shape=FEW)
    grid = case.inference.volume.grid
    return with_output(case, TUMOURS, Channels(array=np.zeros((2, *grid.shape), bool), labels=(0, 1), grid=grid)), TUMOURS


def make_detection():
    case = make_case("oblique")
    return with_output(case, NODULES, make_boxes(case)), NODULES


def make_classification():
    case = make_case(shape=FEW)
    return with_output(case, FINDINGS, make_scores(case)), FINDINGS


#: What a bundle may take and give beside one series and a label map.
OTHERS = {
    "channels": make_channels,
    "nothing": make_nothing,
    "boxes": make_detection,
    "scores": make_classification,
    "radiograph": lambda: (make_radiograph(), FINDINGS),
    "two inputs": lambda: (with_second_input(make_case()), PIPELINE),
}


@pytest.fixture(scope="module")
def other_files(tmp_path_factory):
    """The files of each other kind of result: the paths of its objects by kind, and those of the source."""
    made = {name: make() for name, make in OTHERS.items()}
    return {name: write_all(case, tmp_path_factory.mktemp(name.replace(" ", "_")), pipeline) for name, (case, pipeline) in made.items()}


@pytest.fixture(scope="module", params=ORIENTATIONS)
def files(request, tmp_path_factory):
    """The files of a case in each orientation."""
    paths, sources = write_all(make_case(request.param), tmp_path_factory.mktemp(request.param))
    return paths["SEG"], paths["SR"], sources


@pytest.fixture(scope="module")
def axial(tmp_path_factory):
    """The files of an axial case."""
    paths, sources = write_all(make_case(), tmp_path_factory.mktemp("axial"))
    return paths["SEG"], paths["SR"], sources


def complaints_of_dciodvfy(path):
    """List what it says of a file that is not known to be its own mistake; its exit code is always 0."""
    _, said = run("dciodvfy", path)
    assert re.search(r"^(Segmentation|Comprehensive3DSR)$", said, re.MULTILINE)
    lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in lines if not line.rstrip().endswith(KNOWN)]


def complaints_of_dcentvfy(paths):
    """List what it says of files together; that accession numbers of images and reports differ in their entity is its own mistake."""
    _, said = run("dcentvfy", *paths)
    return [line for line in said.splitlines() if line.startswith(("Error", "Warning")) and "Element=<AccessionNumber> IE" not in line]


def errors_of_pixelmed(reports):
    """List the errors that PixelMed's validator finds in reports of TID 1500."""
    if not PIXELMED.exists():
        missing(f"{PIXELMED} is not installed: it is in the Debian package libpixelmed-java")
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")]
    _, said = run("java", *limits, "-cp", PIXELMED, Path(__file__).parent / "ValidateAll.java", *reports, timeout=400)
    assert said.count("Found Root Template TID_1500") == len(reports)
    return [line for line in said.splitlines() if line.startswith("Error") and not line.endswith(NEWER_THAN_PIXELMED)]


def test_dciodvfy_finds_neither_error_nor_unknown_warning(files):
    assert [complaints_of_dciodvfy(path) for path in files[:2]] == [[], []]


@pytest.mark.parametrize("name", OTHERS)
def test_the_objects_of_every_kind_of_result_are_valid(other_files, name):
    paths, sources = other_files[name]
    assert {kind: complaints_of_dciodvfy(path) for kind, path in paths.items()} == {kind: [] for kind in paths}
    assert complaints_of_dcentvfy([*sources, *paths.values()]) == []
    assert run("dsrdump", paths["SR"])[0] == 0


def test_dciodvfy_sees_what_it_is_there_to_see(axial, tmp_path):
    """So that its silence above means something."""
    dataset = dcmread(axial[0])
    del dataset.SegmentSequence[0].SegmentLabel
    dataset.save_as(tmp_path / "broken.dcm")
    assert "Error" in run("dciodvfy", tmp_path / "broken.dcm")[1]


def test_dcentvfy_finds_source_and_objects_of_one_patient_and_study(files):
    assert complaints_of_dcentvfy([*files[2], *files[:2]]) == []


def test_dcentvfy_sees_another_patient(axial, tmp_path):
    dataset = dcmread(axial[0])
    dataset.PatientID = "somebody else"
    dataset.save_as(tmp_path / "other.dcm")
    assert "Error" in run("dcentvfy", *axial[2], tmp_path / "other.dcm")[1]


def test_dcmtk_reads_both_objects(files):
    segmentation, report, _ = files
    assert run("dsrdump", report)[0] == 0
    assert run("dcm2json", segmentation)[0] == 0
    assert run("dcm2json", report)[0] == 0


def test_pixelmed_finds_template_1500_and_no_error(axial, other_files):
    reports = [axial[1], *(other_files[name][0]["SR"] for name in ("nothing", "boxes", "scores", "radiograph"))]
    assert errors_of_pixelmed(reports) == []


def test_another_process_in_another_time_zone_makes_the_same_bytes():
    case = make_case()
    ours = [hashlib.sha256(encoded.content).hexdigest() for encoded in encode(case.inference, case.job, EQUIPMENT, PIPELINE)]
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", MAKE_AND_HASH], capture_output=True, text=True, check=True, cwd=root, env=environment, timeout=100
    )
    assert done.stdout.split() == ours


def test_a_name_in_japanese_is_read_by_dcmtk_as_the_source_is(tmp_path):
    header = Dataset()
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header.InstitutionName = header.ReferringPhysicianName = header.OperatorsName = ""
    paths, sources = write_all(make_case(header=header), tmp_path)
    names = {re.search(r"\(0010,0010\) PN (.*?) +#", run("dcmdump", path)[1])[1] for path in (*paths.values(), sources[0])}
    assert len(names) == 1
    assert "Yamada^Tarou=" in names.pop()
