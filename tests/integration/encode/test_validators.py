"""Other people's validators and readers on our objects; none of them knows the library that made them."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.encode.objects import encode
from tests.peers import find_tool, missing
from tests.unit.encode.sources import EQUIPMENT, ORIENTATIONS, PIPELINE, make_case

#: What dciodvfy cannot know: the Device UID that IHE AIR puts there, and a private coding scheme.
KNOWN = (
    "(0x0018,0x1002) UI Device UID",
    "this is a Standard Extended SOP Class",
    "Unrecognized defined term <99RADNODE> for value 1 of attribute <Coding Scheme Designator>",
    "for value 1 of attribute <Coding Scheme UID>",
)

PIXELMED = Path("/usr/share/java/pixelmed.jar")

MAKE_AND_HASH = """
import hashlib
from tests.unit.encode.sources import EQUIPMENT, PIPELINE, make_case
from node.encode.objects import encode
case = make_case()
for encoded in encode(case.inference, case.job, EQUIPMENT, PIPELINE):
    print(hashlib.sha256(encoded.content).hexdigest())
"""


def run(*command):
    """Run a tool; return its exit code and all that it said."""
    done = subprocess.run([find_tool(command[0]), *map(str, command[1:])], capture_output=True, timeout=100, check=False)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def write_all(case, folder):
    """Write the source and the objects of a case as files; return the paths of the Segmentation, the report and the source."""
    paths = {}
    for encoded in encode(case.inference, case.job, EQUIPMENT, PIPELINE):
        paths[encoded.kind] = folder / f"{encoded.kind}.dcm"
        paths[encoded.kind].write_bytes(encoded.content)
    sources = []
    for index, header in enumerate(case.inference.volume.headers):
        sources.append(folder / f"ct{index}.dcm")
        header.add_new("PixelData", "OW", case.inference.volume.array[index].astype("<i2").tobytes())
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.save_as(sources[-1], enforce_file_format=True)
    return paths["SEG"], paths["SR"], sources


@pytest.fixture(scope="module", params=ORIENTATIONS)
def files(request, tmp_path_factory):
    """The files of a case in each orientation."""
    return write_all(make_case(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def axial(tmp_path_factory):
    """The files of an axial case."""
    return write_all(make_case(), tmp_path_factory.mktemp("axial"))


def test_dciodvfy_finds_neither_error_nor_unknown_warning(files):
    for path in files[:2]:
        _, said = run("dciodvfy", path)  # its exit code is always 0
        lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
        assert [line for line in lines if not line.rstrip().endswith(KNOWN)] == []
        assert re.search(r"^(Segmentation|Comprehensive3DSR)$", said, re.MULTILINE)


def test_dciodvfy_sees_what_it_is_there_to_see(axial, tmp_path):
    """So that its silence above means something."""
    dataset = dcmread(axial[0])
    del dataset.SegmentSequence[0].SegmentLabel
    dataset.save_as(tmp_path / "broken.dcm")
    assert "Error" in run("dciodvfy", tmp_path / "broken.dcm")[1]


def test_dcentvfy_finds_source_and_objects_of_one_patient_and_study(files):
    _, said = run("dcentvfy", *files[2], *files[:2])
    # it takes the accession number of an image and of a report for attributes of different entities
    lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning")) and "Element=<AccessionNumber> IE" not in line]
    assert lines == []


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


def test_pixelmed_finds_template_1500_and_no_error(axial):
    if not PIXELMED.exists():
        missing(f"{PIXELMED} is not installed: it is in the Debian package libpixelmed-java")
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")]
    _, said = run("java", *limits, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator", axial[1])
    assert "Found Root Template TID_1500" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


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
    segmentation, report, sources = write_all(make_case(header=header), tmp_path)
    names = {re.search(r"\(0010,0010\) PN (.*?) +#", run("dcmdump", path)[1])[1] for path in (segmentation, report, sources[0])}
    assert len(names) == 1
    assert "Yamada^Tarou=" in names.pop()
