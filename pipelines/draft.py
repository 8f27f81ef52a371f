"""A bundle -> a pipeline.toml to finish: what is known is filled in; what is not stays open, and is refused until it is known."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.codes.table import CodeTable, Match, read_table
from pipelines.errors import BundleContract
from pipelines.openings import MARK, Opening, openings_in
from pipelines.outline import Outline, read_outline
from pipelines.spec import Concept

NAME = re.compile(r"[a-z][a-z0-9_]{1,47}")
#: PS3.3 gives Series Description 64 characters; the node writes more into it than the title.
LONGEST_TITLE = 24
BUNDLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,63}")
#: Classic, enhanced and legacy converted image storage of the modalities that volumes are made of (PS3.4 section B.5).
SOP_CLASSES = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1"),
}
CODED = '{ value = "...", scheme = "SCT", meaning = "..." }'


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A pipeline.toml that is not finished.

    Attributes
    ----------
    name : str
        Of the pipeline.
    text : str
        The file.
    labels : mapping of str to Match or None
        What each channel of the bundle's output was taken for; None where the table does not know it.
    openings : tuple of Opening
        What is to be filled in.
    """

    name: str
    text: str
    labels: dict[str, Match | None]
    openings: tuple[Opening, ...]


def draft(bundle: Path, name: str = "") -> Draft:
    """Write down what a bundle says of itself, as a pipeline.toml to finish.

    Parameters
    ----------
    bundle : Path
        Its folder under models/.
    name : str
        Of the pipeline; that of the bundle in small letters unless another is given.

    Raises
    ------
    BundleMissing, BundleContract
        Those of `read_outline`; reason ``name`` when the bundle or the pipeline cannot be called so.
    """
    outline = read_outline(bundle)
    name = name or bundle.name.lower().replace("-", "_")
    for called, rule in ((bundle.name, BUNDLE), (name, NAME)):
        if rule.fullmatch(called) is None:
            raise BundleContract(f"{called!r} cannot be used as a name; it must match {rule.pattern}.", reason="name")
    table = read_table()
    text = "\n".join(
        (*_head(bundle.name, name, outline), *_inputs(outline), *_limits(), *_outputs(outline), *_labels(bundle.name, outline, table))
    )
    labels = {label: table.find(label, bundle.name) for label in _foreground(outline).values()}
    return Draft(name=name, text=f"{text}\n", labels=labels, openings=tuple(openings_in(tomllib.loads(text))))


def write_draft(made: Draft, pipelines_folder: Path) -> Path:
    """Write a draft to where the node looks for pipelines, and return the file.

    Raises
    ------
    BundleContract
        reason ``exists``: there is a pipeline of that name; nothing is overwritten.
    """
    path = pipelines_folder / made.name / "pipeline.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError as error:
        raise BundleContract(
            f"There is a pipeline {made.name} already, {path}; give the new one another name with --name.", reason="exists"
        ) from error
    return path


def _head(bundle: str, name: str, outline: Outline) -> Iterator[str]:
    title, intended_use, licence = outline.name or outline.task, outline.intended_use, outline.licence
    wanted = f"up to 24 characters, for series descriptions; the bundle calls itself {title!r}"
    yield f"# Drafted from models/{bundle} {outline.version}: replace every {json.dumps(MARK.strip())} before the pipeline may run."
    yield "# Keys that are not here have their default; docs/pipelines.md explains them all."
    yield ""
    yield f"name = {_text(name)}"
    yield f"title = {_text(title) if 0 < len(title) <= LONGEST_TITLE else _open(wanted)}"
    yield f"bundle = {_text(bundle)}"
    yield f"intended_use = {_text(intended_use) if intended_use else _open('a sentence that goes into every report')}"
    suggests = f"evaluator {outline.evaluator or 'unknown'}, inferer {outline.inferer or 'unknown'}"
    yield (
        f"mode = {_text(outline.mode)}    # a guess; {_comment(suggests)}"
        if outline.mode
        else f"mode = {_open(f'stages or engine; {suggests}')}"
    )
    if not outline.labels:
        yield f"labels_source = {_open('where it is written what the labels of the output mean; metadata.json does not say it')}"
    yield ""
    yield "[origin]"
    yield f"licence = {_text(licence) if licence else _open('on what terms the weights may be used')}"
    yield ""


def _inputs(outline: Outline) -> Iterator[str]:
    single = len(outline.channels) < 2
    for channel in outline.channels or ("",):
        yield "[series]" if single else "[[inputs]]"
        if not single:
            name = re.sub(r"\W+", "_", channel.lower()).strip("_")
            yield f"name = {_text(name) if NAME.fullmatch(name) else _open('a name for this channel of the bundle')}"
        if not outline.channels:
            yield f"name = {_open('the bundle does not say how many images it takes: [series] is for one, [[inputs]] for several')}"
        yield (
            f"modality = [{_text(outline.modality)}]" if outline.modality else f"modality = {_open('a list, as DICOM writes them: CT, MR')}"
        )
        if outline.modality in SOP_CLASSES:
            yield f"sop_class_uid = [{', '.join(map(_text, SOP_CLASSES[outline.modality]))}]    # classic, enhanced, legacy converted"
        if not single:
            yield f"description_pattern = {_open(f'which series is {channel or name}; better a rule on how it was acquired')}"
        yield ""


def _limits() -> Iterator[str]:
    yield "[limits]"
    for key, what in (
        ("slice_spacing_mm", "distances between slices"),
        ("pixel_spacing_mm", "pixel spacings"),
        ("coverage_mm", "lengths of the body part along the slices"),
    ):
        yield f"{key} = {_open(f'{{ min = ..., max = ... }}, the {what} that the model was made for')}"
    yield "max_voxels = 300_000_000    # slices x rows x columns; what memory allows"
    yield "seconds = 600               # the hard time limit of one job"
    yield ""


def _outputs(outline: Outline) -> Iterator[str]:
    says = f"metadata.json calls the output {outline.pred_type or 'nothing'} and {outline.pred_format or 'nothing'}"
    if outline.kind in {"labelmap", "channels"}:
        yield from ("[[measurements]]", 'kind = "volume_ml"', "")
    yield "[outputs]"
    if outline.kind:
        yield f"kind = {_text(outline.kind)}    # a guess; {says}. The conformance test tells"
    else:
        yield f"kind = {_open(f'labelmap, channels, boxes or scores; {says}')}"
    yield ""


def _foreground(outline: Outline) -> dict[int, str]:
    """What is to be declared: every channel but the background of a label map."""
    return {value: name for value, name in outline.labels.items() if value or outline.kind != "labelmap"}


def _labels(bundle: str, outline: Outline, table: CodeTable) -> Iterator[str]:
    labels = _foreground(outline)
    if not labels:
        yield "# metadata.json does not say what the output's labels mean: read it up, and declare every one of them."
        yield from ("[[labels]]", f"value = {_open('an integer of the output')}", f"name = {_open('what it stands for')}")
        yield from _codes(None, "it")
    for value, name in labels.items():
        match = table.find(name, bundle)
        yield "[[labels]]"
        yield f"value = {value}"
        yield f"name = {_text(match.name if match else name)}" + (f"    # {_comment(name)}" if match and match.name != name else "")
        yield from _codes(match, name)


def _codes(match: Match | None, name: str) -> Iterator[str]:
    if match is None:
        yield f"category = {_open(f'the kind of thing that {name!r} is, PS3.16 CID 7150: {CODED}')}"
        yield f"type = {_open(f'what {name!r} is, PS3.16 CID 7151: {CODED}; laterality likewise, if it has a side')}"
        yield f"rgb = {_open('a colour, [0, 0, 0] to [255, 255, 255]')}"
    else:
        yield f"category = {_concept(match.category)}"
        yield f"type = {_concept(match.type)}"
        if match.laterality is not None:
            yield f"laterality = {_concept(match.laterality)}"
        yield f"rgb = {list(match.rgb)}"
    yield ""


def _concept(concept: Concept) -> str:
    return f"{{ value = {_text(concept.value)}, scheme = {_text(concept.scheme)}, meaning = {_text(concept.meaning)} }}"


def _open(wanted: str) -> str:
    return _text(f"{MARK}{wanted}")


def _text(value: str) -> str:
    """A basic string of TOML, which escapes as JSON does."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """What may stand in a comment: one line of printable characters."""
    return "".join(character if character.isprintable() else " " for character in text)
