"""A signed repository in our words: releases read from its targets, and why it is not believed.

The repository is one of The Update Framework (TUF), read with python-tuf. Its errors are told
apart by their names here, so that the contract needs no library for it.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from contract.errors import FarfixError, Malformed, Refused, Unreachable
from contract.firmware import Claims, Release, target_path

MACHINE_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Of a release: it becomes a part of paths, so that it must not lead out of a folder."""


def release(path: str, size_bytes: int, hashes: Mapping[str, str], custom: object) -> Release:
    """Read the release that a target is: its path, length, hashes and ``custom`` part.

    Raises:
        Malformed: a claim is missing, unknown or out of bounds, or the path tells another release.
    """
    try:
        claims = msgspec.convert(custom, Claims)
        fields = msgspec.structs.asdict(claims)
        made = msgspec.convert(
            fields | {"size_bytes": size_bytes, "sha256": hashes.get("sha256", "")}, Release
        )
    except msgspec.ValidationError as error:
        raise Malformed(f"target {path} is no release: {error}") from error
    if MACHINE_TYPE.fullmatch(made.machine_type) is None:
        raise Malformed(f"target {path}: {made.machine_type!r} is no name of a machine type")
    expected = target_path(made.machine_type, made.version, made.format)
    if path != expected:
        raise Malformed(f"target {path} says that it is {expected}: a target lies under its name")
    return made


def explain(error: Exception) -> str:
    """Say why a repository, or a file of it, is not believed, for the person who reads it.

    Takes what python-tuf raises; of anything else it says its name and text.
    """
    for kind in type(error).__mro__:
        if kind.__name__ in _SENTENCES:
            return _SENTENCES[kind.__name__](error)
    return f"{type(error).__name__}: {error}"


def translate(error: Exception) -> FarfixError:
    """Return what python-tuf raised as an error of ours.

    `Unreachable`: the repository could not be asked. `Refused`: its answer is not believed, and
    asking again does not help.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "DownloadError" in kinds and "DownloadLengthMismatchError" not in kinds:
        return Unreachable(explain(error))
    return Refused(explain(error))


def _unsigned(error: Exception) -> str:
    found = re.fullmatch(r"(\S+) was signed by (\d+)/(\d+) keys", str(error))
    if found is None:
        return f"the metadata is not signed as it must be ({error})"
    role, have, need = found.groups()
    return f"the {role} metadata has {have} of {need} signatures by keys that are trusted for it"


def _expired(error: Exception) -> str:
    found = re.search(r"(root|timestamp|snapshot|targets)", str(error))
    role = found[1] if found else "signed"
    return (
        f"the {role} metadata has expired: it was not renewed in time, "
        "or somebody withholds what is newer"
    )


def _version(error: Exception) -> str:
    return (
        "the metadata is older than what was seen before, or its parts are of different times: "
        f"somebody may serve an old state ({_text(error)})"
    )


def _mismatch(error: Exception) -> str:
    return f"a file is not the one that was signed: length or hash differ ({_text(error)})"


def _http(error: Exception) -> str:
    return f"the repository answered {getattr(error, 'status_code', 'an error')}: {_text(error)}"


def _unreached(error: Exception) -> str:
    cause = str(error.__cause__ or "")
    behind = "" if cause in str(error) else f" ({cause})"
    return f"the repository cannot be reached: {_text(error)}{behind}"


def _text(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


_SENTENCES: dict[str, Callable[[Exception], str]] = {
    "UnsignedMetadataError": _unsigned,
    "ExpiredMetadataError": _expired,
    "BadVersionNumberError": _version,
    "LengthOrHashMismatchError": _mismatch,
    "DeserializationError": lambda _: "the metadata cannot be read: it is no TUF metadata",
    "RepositoryError": lambda e: f"the metadata contradicts itself ({_text(e)})",
    "DownloadLengthMismatchError": lambda e: (
        f"more is sent than was signed, and it was broken off there ({_text(e)})"
    ),
    "SlowRetrievalError": lambda _: "the repository does not answer, or too slowly",
    "DownloadHTTPError": _http,
    "DownloadError": _unreached,
}
"""By the class that says it, the nearest in the order of inheritance first."""
