"""config.toml: read once and checked whole; every fault is reported at once, with the path of its key and what to write instead."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from node.config.destinations import DESTINATIONS, SenderDestinationSection
from node.config.doors import ClientTlsSection, ServerTlsSection
from node.config.sections import Config
from node.core.errors import ConfigError


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
    store = config.store.model_copy(update={"folder": folder / config.store.folder})
    found = config.pipelines
    pipelines = found.model_copy(update={"folder": folder / found.folder, "models": folder / found.models})
    listen = config.listen.model_copy(update={"tls": _anchor_files(config.listen.tls, folder)})
    web = config.web.model_copy(update={"tls": _anchor_files(config.web.tls, folder)})
    destinations = tuple(
        one if isinstance(one, SenderDestinationSection) else one.model_copy(update={"tls": _anchor_files(one.tls, folder)})
        for one in config.destination
    )
    peers = tuple(one.model_copy(update={"tls": _anchor_files(one.tls, folder)}) for one in config.peer)
    anchored: dict[str, object] = {"node": node, "store": store, "pipelines": pipelines, "listen": listen, "web": web}
    anchored |= {"destination": destinations, "peer": peers}
    return config.model_copy(update=anchored)


def _anchor_files(section: ServerTlsSection | ClientTlsSection | None, folder: Path) -> ServerTlsSection | ClientTlsSection | None:
    if section is None:
        return None
    files = {name: getattr(section, name) for name in ("certificate", "key", "authority")}
    return section.model_copy(update={name: folder / path for name, path in files.items() if path is not None})


def _explain(fault: Any) -> str:
    """Say where a fault is, what is wrong, and what to write instead."""
    path = list(fault["loc"])
    if path[:1] == ["destination"] and path[2:3] and path[2] in DESTINATIONS:
        del path[2]  # pydantic names the kind there, and the file does not
    where = ".".join(str(step) for step in path) or "(file)"
    if fault["type"] != "extra_forbidden":
        return f"  {where}: {fault['msg'].removeprefix('Value error, ')}"
    close = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1)
    hint = f"; did you mean {close[0]}?" if close else "; remove it"
    return f"  {where}: there is no such key{hint}"


def _known_keys(table: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    if table[:1] == ("destination",) and len(table) > 2:  # the kind stands behind the number
        model, table = DESTINATIONS[str(table[2])], table[3:]
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
