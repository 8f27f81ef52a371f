"""What the values of config.toml may be, and the base of its tables."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo


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


def _check_token(token: SecretStr) -> SecretStr:
    """Refuse what could be guessed, or what a header could not carry (RFC 6750 section 2.1); an empty variable is no token."""
    if re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", token.get_secret_value()) is None:
        raise ValueError("a token is 16 characters or more out of A-Z a-z 0-9 . _ ~ + / -")
    return token


def _check_ae_title(title: str) -> str:
    """Take the spaces off that mean nothing (PS3.5 Table 6.2-1, VR AE), so that titles can be compared."""
    title = title.strip(" ")
    if re.fullmatch(r"[ -\[\]-~]{1,16}", title) is None:
        raise ValueError("an AE title is 1 to 16 characters of ASCII that can be printed, without a backslash")
    return title


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return pattern


#: An Application Entity title.
AETitle = Annotated[str, AfterValidator(_check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Secret = Annotated[SecretStr, BeforeValidator(_resolve_secret)]
Token = Annotated[Secret, AfterValidator(_check_token)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Networks = tuple[IPv4Network | IPv6Network, ...]


class Section(BaseModel):
    """Base of every table: frozen, and unknown keys are faults. What was given is never quoted, because it may hold a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
