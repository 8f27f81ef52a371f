"""What both objects of one job are made from: identifiers, dates and the segments that they share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodedValue

from node.core.errors import EncodeError, IdentityConflict
from node.core.job import Job
from node.core.result import Equipment
from node.core.uids import derive_uid
from pipelines.result import Channels, Code, Finding, Inference, LabelMap, Model
from pipelines.spec import Pipeline

#: What says that a finding is a place in the body; other categories (a lesion) say nothing of where they are. PS3.16 CID 7150 has the first
#: code; the second is its parent, Body structure, which many objects have under the name of the first.
ANATOMICAL_STRUCTURES = frozenset({"91723000", "123037004"})

#: Tracking identifier of the group that says so.
NOTHING = "Nothing found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One finding that has voxels, as both objects name it.

    Attributes
    ----------
    number : int
        Segment Number (0062,0004), from 1 without gaps.
    tracking_uid : str
        Tracking UID (0062,0021) of the segment and (112040, DCM) of its measurement groups: the same value by
        PS3.3 Table C.8.20-4.
    """

    number: int
    finding: Finding
    tracking_uid: str

    @property
    def tracking_id(self) -> str:
        """Tracking ID (0062,0020), for people."""
        return self.finding.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Making:
    """One act of encoding: what was found, for which job, on which node, by which pipeline."""

    inference: Inference
    job: Job
    equipment: Equipment
    pipeline: Pipeline

    @property
    def title(self) -> str:
        """What series descriptions call the result."""
        return self.pipeline.title

    @property
    def model(self) -> Model:
        """The model that both objects name."""
        return self.inference.model

    @property
    def header(self) -> Dataset:
        """The source instance from which patient and study are copied: the first in slice order."""
        return self.inference.volume.headers[0]

    @property
    def made_at(self) -> datetime:
        """When the objects say that they were made: when the job was queued, in the source's own time zone if it states one."""
        return to_source_zone(self.job.queued_at, self.header)

    def segments(self) -> tuple[Segment, ...]:
        """List the findings that have voxels, in the pipeline's order; none where nothing was found, or nothing is segmented.

        Raises
        ------
        EncodeError
            When the label map holds a label that no finding stands for.
        """
        if not isinstance(self.inference.output, LabelMap | Channels):
            return ()
        labels = self.inference.masks.present()
        present = [finding for finding in self.inference.findings if finding.label in labels]
        strange = labels - {finding.label for finding in present}
        if strange:
            raise EncodeError(f"The label map holds labels that no finding stands for: {sorted(strange)}.", reason="unknown_label")
        return tuple(
            Segment(number=number, finding=finding, tracking_uid=tracking_uid(self.job, finding))
            for number, finding in enumerate(present, start=1)
        )


def tracking_uid(job: Job, finding: Finding) -> str:
    """Derive the identifier that ties a segment to its measurements."""
    return job.derive_uid("tracking", str(finding.label), *([str(finding.number)] if finding.number > 1 else []))


def device_uid(model: Model) -> str:
    """Derive the Device UID (0018,1002) of a model: retrain it, and it is another device (IHE AIR section 6.5.3.1)."""
    return derive_uid("model", model.digest)


def algorithm_parameters(model: Model, pipeline: Pipeline) -> list[str]:
    """List what the report says of the algorithm beside its name and version: which files ran, and what they are meant for."""
    return [f"model_sha256={model.digest}", f"intended_use={pipeline.intended_use}"]


def coded(code: Code) -> CodedValue:
    """Turn our concept into the one that pydicom and highdicom speak of."""
    return CodedValue(code.value, code.scheme, code.meaning)


def to_source_zone(moment: datetime, header: Dataset) -> datetime:
    """Express ``moment`` in the time zone that the source states.

    One Timezone Offset From UTC (0008,0201) governs every date and time of a data set (PS3.3 C.12.1), those that are copied
    from the source as well as ours. Without that attribute, or with one that cannot be read, the moment stays as it is.
    """
    try:
        text = str(header.get("TimezoneOffsetFromUTC", "") or "")
        sign = {"+": 1, "-": -1}[text[:1]]
        return moment.astimezone(timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))))
    except (KeyError, ValueError):
        return moment


def check_text(making: Making) -> None:
    """Refuse text of our own that the source's character set cannot write; objects are written in it so that names stay as they are.

    Raises
    ------
    EncodeError
        With the first text that does not fit.
    """
    charset = making.header.get("SpecificCharacterSet")
    encodings = convert_encodings(charset) if charset else ["ascii"]
    model, equipment = making.model, making.equipment
    texts = [making.title, model.name, model.version, model.manufacturer, equipment.manufacturer, equipment.model_name]
    texts += [equipment.institution_name, making.pipeline.intended_use, *(label.name for label in making.pipeline.labels)]
    texts += [finding.name for finding in making.inference.findings]
    for text in texts:
        if not any(_fits(text, encoding) for encoding in encodings):
            raise EncodeError(
                f"The text {text!r} cannot be written in the source's character set {charset or 'ISO_IR 6'}; use plain ASCII.",
                reason="charset",
            )


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def check_source(inference: Inference, job: Job) -> None:
    """Refuse a source from which no result could be filed. Identity is compared, never repaired.

    Raises
    ------
    IdentityConflict
        When an instance lacks its Study Instance UID or Patient ID, or belongs to another study or series than the job's, or the inputs are
        not all of one patient.
    EncodeError
        When headers, grid and output are not about the same slices.
    """
    volumes, grid = (inference.volume, *inference.others), inference.output.grid
    headers = [header for volume in volumes for header in volume.headers]
    for keyword in ("StudyInstanceUID", "PatientID"):
        if any(not header.get(keyword) for header in headers):
            raise IdentityConflict(f"The source lacks {keyword}; a result of it could not be filed.", reason="missing")
    if any(header.StudyInstanceUID != job.study_instance_uid for header in headers):
        raise IdentityConflict("The source belongs to another study than the job.", reason="study")
    if len({(str(header.PatientID), str(header.get("IssuerOfPatientID") or "")) for header in headers}) > 1:
        raise IdentityConflict("The inputs are not all of one patient.", reason="patient")
    series = [{header.get("SeriesInstanceUID") for header in volume.headers} for volume in volumes]
    if series != [{uid} for uid in job.series_instance_uids]:
        raise IdentityConflict("The source belongs to another series than the job.", reason="series")
    if inference.model.digest != job.model_digest:
        raise EncodeError("The model that ran is not the one that the job names.", reason="model")
    if tuple(header.get("SOPInstanceUID") for header in inference.volume.headers) != grid.sop_instance_uids:
        raise EncodeError("The output's slices are not the source's instances, in their order.", reason="slices")
    shape = inference.output.array.shape[-3:] if isinstance(inference.output, LabelMap | Channels) else grid.shape
    if shape != grid.shape or len(inference.volume.headers) != grid.shape[0]:
        raise EncodeError("The output has another shape than its grid.", reason="shape")
