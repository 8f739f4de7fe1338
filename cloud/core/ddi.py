"""The words of Eclipse hawkBit's Direct Device Integration, as clients really say them.

What a client says becomes a `Report`; what it is told becomes a body. Details are kept for people,
so nothing in them may steer a terminal, a page or the direction of text.
"""

import json
from typing import Any, Literal, NamedTuple

from cloud.core.rollout_states import Report
from contract.errors import Malformed
from contract.firmware import Release, target_path

MAX_LINES = 50
MAX_LINE_CHARS = 500
MAX_ATTRIBUTES = 100
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 256
DAY_S = 86_400
MAX_ACTION = 2**31 - 1
"""swupdate reads actions into an int."""

_UNDER_WAY = frozenset({"download", "downloaded", "proceeding", "scheduled", "resumed"})
_EXECUTIONS = _UNDER_WAY | {"closed", "canceled", "rejected"}
_FINISHED = frozenset({"success", "failure", "none"})
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a"})
_MODES: dict[str, Literal["merge", "replace", "remove"]] = {
    "merge": "merge", "replace": "replace", "remove": "remove",
}  # fmt: skip


class Feedback(NamedTuple):
    """What a client says about an action."""

    execution: str
    finished: str
    details: str
    """At most `MAX_LINES` lines of `MAX_LINE_CHARS` characters, harmless."""


class Attributes(NamedTuple):
    """What a client says of itself."""

    mode: Literal["merge", "replace", "remove"]
    data: dict[str, str]


def action(text: str) -> int | None:
    """Read an action's number from a path; None: it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    number = int(text)
    return number if 0 < number <= MAX_ACTION else None


def feedback(body: bytes) -> Feedback:
    """Read a client's feedback.

    swupdate puts lines of its log between quotes as they are. Where that breaks the JSON, the
    verdict before it is whole and counts; what follows is kept as text.

    Raises:
        Malformed: no verdict can be read from it.
    """
    text = _text(body)
    broken: list[str] = []
    try:
        said = _object(text)
    except Malformed:
        head, found, tail = text.partition('"details"')
        if not found:
            raise
        said = _object(head + '"details":[]}}')
        broken = [line.strip(' \n:[]{}"') for line in tail.split('","')]
    status = said.get("status")
    if not isinstance(status, dict):
        raise Malformed("feedback has no object 'status'")
    result = status.get("result")
    finished = result.get("finished") if isinstance(result, dict) else None
    execution = status.get("execution")
    if not isinstance(execution, str) or execution not in _EXECUTIONS:
        raise Malformed(f"'execution' must be one of {', '.join(sorted(_EXECUTIONS))}")
    if not isinstance(finished, str) or finished not in _FINISHED:
        raise Malformed(f"'finished' must be one of {', '.join(sorted(_FINISHED))}")
    return Feedback(execution, finished, _details(status.get("details") or broken))


def update_report(said: Feedback) -> Report:
    """Return what feedback about an update means, as hawkBit maps it.

    Only ``closed`` and ``canceled`` end an action; ``closed`` without a result is a success.
    """
    if said.execution == "closed":
        return Report.FAILURE if said.finished == "failure" else Report.SUCCESS
    if said.execution == "canceled":
        return Report.CANCELED
    return Report.TAKEN if said.execution in _UNDER_WAY else Report.NOTHING


def cancel_report(said: Feedback) -> Report:
    """Return what feedback about a cancellation means, as hawkBit maps it.

    A cancellation that failed or was rejected leaves the update running.
    """
    if said.execution == "rejected" or (said.execution, said.finished) == ("closed", "failure"):
        return Report.CANCEL_REFUSED
    return Report.CANCELED if said.execution == "closed" else Report.NOTHING


def attributes(body: bytes) -> Attributes:
    """Read what a client says of itself. Numbers and truths become text, as hawkBit keeps them.

    Raises:
        Malformed: no such object, more than `MAX_ATTRIBUTES`, or one that is too long.
    """
    said = _object(_text(body))
    mode = said.get("mode") or "merge"
    data = said.get("data")
    if not isinstance(mode, str) or mode not in _MODES:
        raise Malformed(f"'mode' must be one of {', '.join(_MODES)}")
    if not isinstance(data, dict):
        raise Malformed("'data' must be an object of attributes")
    if len(data) > MAX_ATTRIBUTES:
        raise Malformed(f"{len(data)} attributes are more than {MAX_ATTRIBUTES}")
    return Attributes(_MODES[mode], dict(_attribute(key, value) for key, value in data.items()))


def harmless(text: str) -> str:
    """Return text in one line that steers nothing.

    It has no control characters, no turned direction, no markup and no links.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.translate(_HARMLESS).replace("](", "] (").strip()


def sleep(poll_s: float) -> str:
    """Return a polling interval as clients read it: ``HH:MM:SS``, a second to just below a day."""
    whole = min(max(round(poll_s), 1), DAY_S - 1)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def filename(release: Release) -> str:
    """Return an artifact's name; swupdate takes only what ends in ``.swu``."""
    return target_path(release.machine_type, release.version, release.format).replace("/", "-")


def poll_body(
    sleep_text: str, *, deployment: str = "", cancel: str = "", config: str = ""
) -> dict[str, Any]:
    """Return the answer to a poll: when to ask again, and links to what there is to do."""
    hrefs = {"deploymentBase": deployment, "cancelAction": cancel, "configData": config}
    links = {name: {"href": href} for name, href in hrefs.items() if href}
    return {"config": {"polling": {"sleep": sleep_text}}, "_links": links}


def deployment_body(
    number: int, release: Release, hashes: dict[str, str], href: str
) -> dict[str, Any]:
    """Return what to install: one chunk with one artifact, as rauc-hawkbit-updater wants it.

    Args:
        number: of the action.
        release: what to install.
        hashes: ``sha1``, ``md5`` and ``sha256`` of the artifact, in hex.
        href: where to fetch it. Some clients read it from one link, some from the other.
    """
    artifact = {
        "filename": filename(release),
        "hashes": hashes,
        "size": release.size_bytes,
        "_links": {"download": {"href": href}, "download-http": {"href": href}},
    }
    chunk = {
        "part": "bApp",  # the only one that Zephyr takes; nobody else looks
        "version": release.version,
        "name": release.machine_type,
        "artifacts": [artifact],
    }
    deployment = {"download": "forced", "update": "forced", "chunks": [chunk]}
    return {"id": str(number), "deployment": deployment}


def cancel_body(number: int) -> dict[str, Any]:
    """Return what to call back. Clients read both numbers, one as text and one as a number."""
    return {"id": str(number), "cancelAction": {"stopId": str(number)}}


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace")


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text, strict=False, object_pairs_hook=_first)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise Malformed("the body is no JSON object")
    return said


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep the first of fields with one name: a line of a log may write more of them."""
    return dict(reversed(pairs))


def _details(said: object) -> str:
    """Keep the last lines: why something failed stands at the end."""
    items = [said] if isinstance(said, str) else said
    if not isinstance(items, list):
        return ""
    texts = [str(item) for item in items if isinstance(item, str | int | float)]
    lines = [line for text in texts for line in text.splitlines()]
    kept = (harmless(line[:MAX_LINE_CHARS]) for line in lines[-MAX_LINES:])
    return "\n".join(line for line in kept if line)


def _attribute(key: str, value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise Malformed(f"attribute {harmless(key[:MAX_KEY_CHARS])!r} is no text")
    name, text = harmless(key), harmless(str(value))
    if not 0 < len(name) <= MAX_KEY_CHARS or len(text) > MAX_VALUE_CHARS:
        raise Malformed(
            f"an attribute has a name of at most {MAX_KEY_CHARS} characters and "
            f"at most {MAX_VALUE_CHARS} of its own"
        )
    return name, text
