"""The tables of config.toml, each a frozen model with its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from node.config.destinations import DestinationSection, DicomDestinationSection, PeerSection
from node.config.doors import CalledSection, ListenSection, QuerySection, WebSection
from node.config.fields import AETitle, Seconds, Secret, Section
from node.config.schedule import PrioritySection, ScheduleSection


class NodeSection(Section):
    """Who we are and where we keep things."""

    ae_title: AETitle = "RADNODE"
    data: Path = Path("var/node")
    database: Secret = SecretStr("")


class StoreSection(Section):
    """Where the bytes are kept for good."""

    kind: Literal["local", "folder", "s3"] = "local"
    folder: Path = Path("var/store")
    cache_bytes: Annotated[int, Field(ge=1)] = 50_000_000_000
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^@\s]+)?$")] = ""
    bucket: str = ""
    prefix: str = ""
    region: str = ""
    access_key: Secret = SecretStr("")
    secret_key: Secret = SecretStr("")
    connect_s: Seconds = 5.0
    answer_s: Seconds = 60.0

    @model_validator(mode="after")
    def _a_bucket_has_a_name(self) -> StoreSection:
        if self.kind == "s3" and not self.bucket:
            raise ValueError("kind is s3; give the name of the bucket")
        if bool(self.access_key.get_secret_value()) != bool(self.secret_key.get_secret_value()):
            raise ValueError("access_key and secret_key go together; give both, or neither")
        return self


class EquipmentSection(Section):
    """How our objects name the device that made them (General Equipment Module, PS3.3 C.7.5.1)."""

    manufacturer: str = "RadNode"
    model_name: str = "RadNode"
    serial_number: Annotated[str, Field(min_length=1)] = "0"
    institution_name: str = ""


class LogSection(Section):
    """What operators read."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class AssembleSection(Section):
    """When a study is complete."""

    quiet_s: Seconds = 30.0
    patience_s: Seconds = 600.0
    sweep_s: Seconds = 1.0
    adapt: bool = False
    quiet_least_s: Seconds = 10.0
    quiet_most_s: Seconds = 300.0
    late: Literal["reprocess", "record"] = "reprocess"

    @model_validator(mode="after")
    def _least_is_not_above_most(self) -> AssembleSection:
        if self.quiet_least_s > self.quiet_most_s:
            raise ValueError("quiet_least_s is above quiet_most_s; exchange them")
        return self


class PipelinesSection(Section):
    """Which pipelines run, and where they and their bundles lie."""

    folder: Path = Path("pipelines")
    models: Path = Path("models")
    enabled: tuple[str, ...] = ()


class RetrySection(Section):
    """How a station works through its queue."""

    lease_s: Annotated[float, Field(ge=1)] = 60.0
    attempts: Annotated[int, Field(ge=1)] = 4
    crashes: Annotated[int, Field(ge=1)] = 3
    retry_first_s: Seconds = 5.0
    retry_most_s: Seconds = 300.0
    poll_s: Annotated[float, Field(ge=0.05)] = 0.25


class WorkSection(RetrySection):
    """The workers."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    jobs: Annotated[int, Field(ge=1)] = 1
    ahead: Annotated[int, Field(ge=0)] = 0
    child_bytes: Annotated[int, Field(ge=0)] = 0
    growth_bytes: Annotated[int, Field(gt=0)] = 2_000_000_000
    reserve_bytes: Annotated[int, Field(ge=0)] = 500_000_000
    most_difference: Annotated[float, Field(ge=0)] = 0.1


class DeliverSection(RetrySection):
    """The couriers."""

    attempts: Annotated[int, Field(ge=1)] = 60
    retry_most_s: Seconds = 900.0
    connect_s: Seconds = 10.0
    answer_s: Seconds = 120.0
    lost_after_s: Seconds = 120.0
    report_s: Seconds = 3600.0
    same_association_s: Annotated[float, Field(ge=0)] = 1.0
    resend: Annotated[int, Field(ge=0)] = 2
    trip_after: Annotated[int, Field(ge=1)] = 5
    probe_first_s: Seconds = 15.0
    probe_most_s: Seconds = 300.0


class CommitmentSection(Section):
    """How requests for storage commitment are reported on."""

    same_association_s: Annotated[float, Field(ge=0)] = 1.0
    retry_first_s: Seconds = 5.0
    retry_most_s: Seconds = 900.0
    give_up_s: Seconds = 86400.0


class RetentionSection(Section):
    """How long bytes are kept; 0 days is for ever."""

    source_days: Annotated[float, Field(ge=0)] = 0.0
    result_days: Annotated[float, Field(ge=0)] = 0.0
    unused_days: Annotated[float, Field(ge=0)] = 0.0
    failed_days: Annotated[float, Field(ge=0)] = 0.0
    quarantine_days: Annotated[float, Field(ge=0)] = 0.0
    confirmed: Literal["committed", "found", "sent"] = "found"
    full_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    until_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    sweep_s: Seconds = 60.0

    @model_validator(mode="after")
    def _until_is_below_full(self) -> RetentionSection:
        if self.until_percent > self.full_percent:
            raise ValueError("until_percent is above full_percent; exchange them")
        return self


class Config(Section):
    """The whole of config.toml."""

    node: NodeSection = NodeSection()
    store: StoreSection = StoreSection()
    equipment: EquipmentSection = EquipmentSection()
    log: LogSection = LogSection()
    listen: ListenSection = ListenSection()
    web: WebSection = WebSection()
    query: QuerySection = QuerySection()
    assemble: AssembleSection = AssembleSection()
    pipelines: PipelinesSection = PipelinesSection()
    schedule: ScheduleSection = ScheduleSection()
    work: WorkSection = WorkSection()
    deliver: DeliverSection = DeliverSection()
    commitment: CommitmentSection = CommitmentSection()
    retention: RetentionSection = RetentionSection()
    called: tuple[CalledSection, ...] = ()
    priority: tuple[PrioritySection, ...] = ()
    peer: tuple[PeerSection, ...] = ()
    destination: tuple[DestinationSection, ...] = ()

    @model_validator(mode="after")
    def _each_remote_once(self) -> Config:
        names = [remote.name for remote in (*self.peer, *self.destination)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two destinations or peers are called {', '.join(repeated)}; give each its own name")
        return self

    @model_validator(mode="after")
    def _each_title_once_and_its_peer_known(self) -> Config:
        titles = [called.ae_title for called in self.called]
        repeated = sorted({title for title in titles if titles.count(title) > 1})
        if repeated:
            raise ValueError(f"two [[called]] tables are for {', '.join(repeated)}; put them together")
        unknown = sorted({called.ask for called in self.called if called.ask} - {remote.name for remote in self.remotes})
        if unknown:
            raise ValueError(f"[[called]] asks {', '.join(unknown)}; give the name of a [[peer]] or a [[destination]]")
        return self

    @model_validator(mode="after")
    def _what_is_scheduled_is_known(self) -> Config:
        unknown = sorted({*self.schedule.pipelines, *self.schedule.shadow} - set(self.every_pipeline))
        if unknown:
            raise ValueError(f"[schedule] names {', '.join(unknown)}, which is in no list of pipelines; enable it, or take it out")
        return self

    @property
    def remotes(self) -> tuple[PeerSection | DicomDestinationSection, ...]:
        """Every AE that we may call, the peers first."""
        return (*self.peer, *(found for found in self.destination if isinstance(found, DicomDestinationSection)))

    @property
    def database_url(self) -> str:
        """The ledger's URL; SQLite in the data folder unless one was given."""
        given = self.node.database.get_secret_value()
        return given or f"sqlite:///{self.node.data / 'radnode.db'}"

    @property
    def called_ae_titles(self) -> frozenset[str]:
        """Every title that we answer to; empty when we answer to any."""
        further = (called.ae_title for called in self.called)
        return frozenset() if self.listen.any_called_ae else frozenset({self.node.ae_title, *self.listen.called_ae, *further})

    @property
    def every_pipeline(self) -> tuple[str, ...]:
        """Every pipeline that runs on something, by ``pipelines.enabled`` or by the title that was called."""
        return tuple(dict.fromkeys([*self.pipelines.enabled, *(name for called in self.called for name in called.pipelines or ())]))
