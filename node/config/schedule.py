"""The tables of config.toml that say who is served first, how many at once, and whose results are kept back."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from pydicom.datadict import tag_for_keyword

from node.config.fields import AETitle, Pattern, Section

Level: TypeAlias = Literal["stat", "urgent", "routine", "background"]
Count = Annotated[int, Field(ge=0)]


class ScheduleSection(Section):
    """In which order jobs run, and how many at once; 0: as many as the workers can."""

    priority: Level = "routine"
    per_pipeline: Count = 0
    per_source: Count = 0
    per_device: Count = 0
    pipelines: dict[str, Count] = Field(default_factory=dict)
    sources: dict[AETitle, Count] = Field(default_factory=dict)
    shadow: tuple[str, ...] = ()


class PrioritySection(Section):
    """One rule: the studies that it fits get this priority. What is left out fits any."""

    priority: Level
    calling_ae: tuple[AETitle, ...] = ()
    called_ae: tuple[AETitle, ...] = ()
    tag: str = ""
    value: Pattern = ""

    @model_validator(mode="after")
    def _tag_and_value_belong_together(self) -> PrioritySection:
        if bool(self.tag) != bool(self.value):
            raise ValueError("tag and value belong together; give both or neither")
        if self.tag and tag_for_keyword(self.tag) is None:
            raise ValueError(f"{self.tag} is no keyword of the data dictionary; RequestedProcedurePriority is one")
        return self
