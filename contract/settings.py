"""What the programs' configurations share: a TOML file, the environment over it, clear refusals.

Each program has one frozen model of its own; nothing else reads the environment. The variables are
the model's ``env_prefix`` and the field, nested fields after ``__``.
"""

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from contract import timescale, topics
from contract.errors import Malformed


def _name(text: str) -> str:
    try:
        return topics.name(text)
    except Malformed as error:
        raise ValueError(str(error)) from error


def _timescale(text: str) -> str:
    try:
        timescale.parse(text)
    except Malformed as error:
        raise ValueError(str(error)) from error
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {text!r}; write one like Europe/Berlin") from error
    return text


ZoneName = Annotated[str, AfterValidator(_zone)]
"""A time zone of the IANA database."""
TopicName = Annotated[str, AfterValidator(_name)]
"""A site or device, as it may stand in a topic."""
TimescaleText = Annotated[str, AfterValidator(_timescale)]
"""``SPEED@ORIGIN_NS`` of a demonstration; empty is the wall clock."""


class Table(BaseModel):
    """One table of a file; a field that is not known is a typing error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(BaseSettings):
    """A program's whole configuration; the environment overrides the file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file, whose values come in as init arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


S = TypeVar("S", bound=Settings)


def read(kind: type[S], path: Path | None) -> S:
    """Read a program's file and environment; without a path only the environment.

    Raises:
        Malformed: says which field of which file is wrong, and how.
    """
    try:
        return kind(**tomllib.loads(path.read_text()) if path else {})
    except OSError as error:
        raise Malformed(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}"
            for e in error.errors()
        ]
        where = path or "the environment"
        raise Malformed(f"{where} cannot be used:\n" + "\n".join(lines)) from error
