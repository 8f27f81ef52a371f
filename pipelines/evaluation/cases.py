"""The file that says what is compared with what: one JSON for each task, which training and test programs write.

Segmentation names files, because masks are large; detection and classification hold everything. Paths are relative to the file::

    {"task": "segmentation", "title": "ct_lungs 1.0.0, 16 phantoms", "labels": {"1": "Right lung", "2": "Left lung"},
     "cases": [{"case": "phantom-01", "reference": "truth/01.npz", "output": "found/01.npz"}]}

    {"task": "detection", "title": "ct_lung_nodules 1.0.0, 30 phantoms", "hit": "center",
     "cases": [{"case": "phantom-01",
                "reference": [{"label": "Nodule", "center_mm": [1, 2, 3], "size_mm": [8, 8, 8]}],
                "output": [{"label": "Nodule", "center_mm": [1, 2, 4], "size_mm": [9, 9, 9], "score": 0.9}]}]}

    {"task": "classification", "title": "cxr_findings 1.0.0, 200 projections", "threshold": 0.5, "exclusive": false,
     "cases": [{"case": "phantom-01", "reference": {"Nodule": 1, "Effusion": 0}, "output": {"Nodule": 0.83, "Effusion": 0.1}}]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pipelines.errors import EvaluationError

Triple = tuple[float, float, float]
Score = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Table(BaseModel):
    """Base of every table of the file: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Study(_Table):
    """What every kind of file has."""

    title: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _each_case_once(self) -> _Study:
        names = [case.case for case in getattr(self, "cases", ())]
        if len(set(names)) != len(names):
            raise ValueError("two cases have the same name")
        return self


class MaskCase(_Table):
    """One reference and one output, as files: DICOM SEG, NIfTI or the ``.npz`` that ``python -m pipelines run --save`` writes."""

    case: str
    reference: Path
    output: Path


class MaskStudy(_Study):
    """Masks to be compared.

    Attributes
    ----------
    labels : dict of int to str
        The names of a label file's integers. Segments of a DICOM SEG are named by their Segment Label.
    """

    task: Literal["segmentation"]
    labels: dict[int, str] = {}
    cases: Annotated[tuple[MaskCase, ...], Field(min_length=1)]


class Target(_Table):
    """One thing that is there, as a box along the axes of the patient (DICOM, LPS, millimetres)."""

    label: str = "finding"
    center_mm: Triple
    size_mm: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Candidate(Target):
    """One thing that was found, with its score."""

    score: Score


class BoxCase(_Table):
    """One scan: what is there, and what was found."""

    case: str
    reference: tuple[Target, ...]
    output: tuple[Candidate, ...]


class BoxStudy(_Study):
    """Detections to be compared.

    Attributes
    ----------
    hit : str
        ``center``: a candidate hits a target when its centre lies no farther from the target's than half the target's longest side
        (the rule of LUNA16). ``iou``: when their boxes overlap by at least ``iou``.
    """

    task: Literal["detection"]
    hit: Literal["center", "iou"] = "center"
    iou: Annotated[float, Field(gt=0, lt=1)] = 0.1
    cases: Annotated[tuple[BoxCase, ...], Field(min_length=1)]


class ScoreCase(_Table):
    """One image: 0 or 1 for each class, and the score of each."""

    case: str
    reference: dict[str, Literal[0, 1]]
    output: dict[str, Score]


class ScoreStudy(_Study):
    """Classifications to be compared.

    Attributes
    ----------
    threshold : float
        A score from here on is a yes. It belongs to the model and was chosen before: never on these cases.
    exclusive : bool
        Exactly one class is true of each image, and the highest score decides.
    """

    task: Literal["classification"]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    exclusive: bool = False
    cases: Annotated[tuple[ScoreCase, ...], Field(min_length=1)]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the first case."""
        return tuple(self.cases[0].reference)

    @model_validator(mode="after")
    def _same_classes(self) -> ScoreStudy:
        classes = set(self.classes)
        for case in self.cases:
            if set(case.reference) != classes or set(case.output) != classes:
                raise ValueError(f"case {case.case} has other classes than the first one")
            if self.exclusive and sum(case.reference.values()) != 1:
                raise ValueError(f"case {case.case}: exactly one class must be true, since they are exclusive")
        return self


Study = MaskStudy | BoxStudy | ScoreStudy
_READER: TypeAdapter[Study] = TypeAdapter(Annotated[Study, Field(discriminator="task")])


def read_study(path: Path) -> Study:
    """Read such a file.

    Raises
    ------
    EvaluationError
        reason ``unreadable`` or ``declaration``, with every fault.
    """
    try:
        study = _READER.validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}.", reason="unreadable") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise EvaluationError(f"{path} has faults: {faults}.", reason="declaration") from error
    if not isinstance(study, MaskStudy):
        return study
    cases = [
        case.model_copy(update={"reference": path.parent / case.reference, "output": path.parent / case.output}) for case in study.cases
    ]
    return study.model_copy(update={"cases": tuple(cases)})
