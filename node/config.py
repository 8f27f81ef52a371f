"""config.toml: read once, checked whole, frozen, and passed down as an argument.

Every fault is reported at once, with the path of its key and what to write instead.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from node.core.errors import ConfigError


def _resolve_secret(value: object, info: ValidationInfo) -> object:
    """Turn ``{env = "NAME"}`` or ``{file = "PATH"}`` into the text that it points to."""
    folder: Path = (info.context or {}).get("folder", Path())
    match value:
        case {"env": str(name), **rest} if not rest:
            if name not in os.environ:
                raise ValueError(f"the environment has no variable {name}; set it, or give the value here")
            return os.environ[name]
        case {"file": str(name), **rest} if not rest:
            try:
                return (folder / name).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ValueError(f"the file {name} cannot be read ({error.strerror}); create it, or give the value here") from error
            except UnicodeDecodeError:
                raise ValueError(f"the file {name} is not UTF-8 text; write the value alone into it") from None
        case dict():
            raise ValueError('a secret is a string, { env = "NAME" } or { file = "PATH" }')
    return value


def _check_ae_title(title: str) -> str:
    """Take the spaces off that mean nothing (PS3.5 Table 6.2-1, VR AE), so that titles can be compared."""
    title = title.strip(" ")
    if re.fullmatch(r"[ -\[\]-~]{1,16}", title) is None:
        raise ValueError("an AE title is 1 to 16 characters of ASCII that can be printed, without a backslash")
    return title


#: An Application Entity title.
AETitle = Annotated[str, AfterValidator(_check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Secret = Annotated[SecretStr, BeforeValidator(_resolve_secret)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]


class Section(BaseModel):
    """Base of every table: frozen, and unknown keys are faults. What was given is never quoted, because it may hold a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class NodeSection(Section):
    """Who we are and where we keep things."""

    ae_title: AETitle = "RADNODE"
    data: Path = Path("var/node")
    database: Secret = SecretStr("")


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


class ServerTlsSection(Section):
    """How the listener secures its connections (PS3.15 Annex B, BCP 195)."""

    certificate: Path
    key: Path
    authority: Path | None = None
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_need_an_authority(self) -> ServerTlsSection:
        if self.names and self.authority is None:
            raise ValueError("names are those of client certificates; give the authority that they must come from")
        return self


class ClientTlsSection(Section):
    """How we secure our connection to a destination."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None
    check_name: bool = True


class ListenSection(Section):
    """The socket that senders reach."""

    host: str = "0.0.0.0"  # noqa: S104 - a listener that senders in the hospital cannot reach is of no use
    port: Port = 11112
    called_ae: tuple[AETitle, ...] = ()
    any_called_ae: bool = False
    calling_ae: tuple[AETitle, ...] = ()
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    unknown_storage: bool = True
    max_associations: Annotated[int, Field(ge=1)] = 64
    max_per_peer: Annotated[int, Field(ge=1)] = 64
    max_pdu: Annotated[int, Field(ge=4096, le=1_048_576)] = 131072
    idle_s: Seconds = 60.0
    slowest_bytes_per_s: Annotated[int, Field(ge=0)] = 1000
    max_instance_bytes: Annotated[int, Field(ge=1)] = 8_000_000_000
    min_free_bytes: Annotated[int, Field(ge=0)] = 1_000_000_000
    fast: bool = True
    processes: Annotated[int, Field(ge=0, le=64)] = 0
    tls: ServerTlsSection | None = None


class AssembleSection(Section):
    """When a study is complete."""

    quiet_s: Seconds = 30.0
    sweep_s: Seconds = 1.0
    late: Literal["reprocess", "record"] = "reprocess"


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


class DeliverSection(RetrySection):
    """The couriers."""

    attempts: Annotated[int, Field(ge=1)] = 60
    retry_most_s: Seconds = 900.0
    connect_s: Seconds = 10.0
    answer_s: Seconds = 120.0


class DestinationSection(Section):
    """One remote AE that is owed results."""

    name: Name
    ae_title: AETitle
    host: Annotated[str, Field(min_length=1)]
    port: Port
    tls: ClientTlsSection | None = None


class Config(Section):
    """The whole of config.toml."""

    node: NodeSection = NodeSection()
    equipment: EquipmentSection = EquipmentSection()
    log: LogSection = LogSection()
    listen: ListenSection = ListenSection()
    assemble: AssembleSection = AssembleSection()
    pipelines: PipelinesSection = PipelinesSection()
    work: WorkSection = WorkSection()
    deliver: DeliverSection = DeliverSection()
    destination: tuple[DestinationSection, ...] = ()

    @model_validator(mode="after")
    def _each_destination_once(self) -> Config:
        names = [destination.name for destination in self.destination]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two destinations are called {', '.join(repeated)}; give each its own name")
        return self

    @property
    def database_url(self) -> str:
        """The ledger's URL; SQLite in the data folder unless one was given."""
        given = self.node.database.get_secret_value()
        return given or f"sqlite:///{self.node.data / 'radnode.db'}"

    @property
    def called_ae_titles(self) -> frozenset[str]:
        """Every title that we answer to; empty when we answer to any."""
        return frozenset() if self.listen.any_called_ae else frozenset({self.node.ae_title, *self.listen.called_ae})


def read_config(path: Path) -> Config:
    """Read ``path`` and make its relative paths absolute.

    Raises
    ------
    ConfigError
        With every fault in the file, one a line.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Copy config.toml from the project and edit it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    folder = path.resolve().parent
    try:
        config = Config.model_validate(tables, context={"folder": folder})
    except ValidationError as error:
        lines = [_explain(fault) for fault in error.errors(include_url=False, include_input=False)]
        raise ConfigError(f"{path} has {len(lines)} fault{'s' if len(lines) > 1 else ''}:\n" + "\n".join(lines)) from error
    return _anchor(config, folder)


def _anchor(config: Config, folder: Path) -> Config:
    node = config.node.model_copy(update={"data": folder / config.node.data})
    found = config.pipelines
    pipelines = found.model_copy(update={"folder": folder / found.folder, "models": folder / found.models})
    listen = config.listen.model_copy(update={"tls": _anchor_files(config.listen.tls, folder)})
    destinations = tuple(one.model_copy(update={"tls": _anchor_files(one.tls, folder)}) for one in config.destination)
    return config.model_copy(update={"node": node, "pipelines": pipelines, "listen": listen, "destination": destinations})


def _anchor_files(section: ServerTlsSection | ClientTlsSection | None, folder: Path) -> ServerTlsSection | ClientTlsSection | None:
    if section is None:
        return None
    files = {name: getattr(section, name) for name in ("certificate", "key", "authority")}
    return section.model_copy(update={name: folder / path for name, path in files.items() if path is not None})


def _explain(fault: Any) -> str:
    """Say where a fault is, what is wrong, and what to write instead."""
    where = ".".join(str(step) for step in fault["loc"]) or "(file)"
    if fault["type"] != "extra_forbidden":
        return f"  {where}: {fault['msg'].removeprefix('Value error, ')}"
    close = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1)
    hint = f"; did you mean {close[0]}?" if close else "; remove it"
    return f"  {where}: there is no such key{hint}"


def _known_keys(table: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for step in table:
        if isinstance(step, int):
            continue
        model = _model_in(model.model_fields[step].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel]:
    """The model that an annotation is, or holds: ``Section``, ``Section | None``, ``tuple[Section, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(argument for argument in get_args(annotation) if isinstance(argument, type) and issubclass(argument, BaseModel))
