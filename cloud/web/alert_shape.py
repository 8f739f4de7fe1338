"""Alerts as Alertmanager (version 4) and Grafana send them, in the words of the gateway."""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from cloud.web.ports import Alert
from contract.errors import Malformed
from contract.faults import Severity
from contract.timescale import Timescale

ALERTS_MAX = 1000
"""Of one request."""
SKEW_S = 600.0
"""So far another system's clock may run ahead of ours, in wall time."""
TITLE_MAX = 200
DETAIL_MAX = 1000
DEVICE_LABELS = ("farfix_device", "device")
"""The first that is there names the machine; exporters use ``device`` for disks and the like."""
SEVERITIES = {
    Severity.CRITICAL: "critical crit emergency emerg alert fatal disaster page p1 sev1",
    Severity.HIGH: "high error err major severe p2 sev2",
    Severity.MEDIUM: "medium warning warn minor average moderate p3 sev3",
    Severity.LOW: "low info information informational notice none debug ok p4 p5 sev4 sev5",
}
"""What other systems call it, in their label ``severity``; anything else is medium."""
_SEVERITY = {word: ours for ours, words in SEVERITIES.items() for word in words.split()}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Moment = Annotated[datetime, Meta(tz=True)]


class Entry(Struct, frozen=True):
    """One alert as it comes; fields that nobody needs here may be anything."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: Moment  # noqa: N815 - their word
    endsAt: Moment | None = None  # noqa: N815
    annotations: dict[str, str] = {}
    fingerprint: str = ""


class Notification(Struct, frozen=True):
    """One webhook call as it comes."""

    alerts: Annotated[list[msgspec.Raw], Meta(max_length=ALERTS_MAX)]


class Shape(Struct, frozen=True):
    """`Notification` as it is documented."""

    alerts: Annotated[list[Entry], Meta(max_length=ALERTS_MAX)]


def entries(body: bytes) -> list[msgspec.Raw]:
    """Return the alerts of a request, each still to be read: a broken one does not spoil others.

    Raises:
        Malformed: not such a request at all, or too many alerts.
    """
    try:
        return msgspec.json.decode(body, type=Notification).alerts
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not alerts as Alertmanager and Grafana send them: {error}") from error


def read(raw: msgspec.Raw, now_ns: int, scale: Timescale) -> Alert:
    """Return one alert in the gateway's words, in plant time.

    Raises:
        Malformed: not such an alert, no label names a machine, or its clock is ahead of ours.
    """
    try:
        entry = msgspec.json.decode(raw, type=Entry)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not an alert: {error}") from error
    named = next((entry.labels[name] for name in DEVICE_LABELS if name in entry.labels), "")
    device = line(named, 64)
    if not device:
        raise Malformed(f"no label {' or '.join(DEVICE_LABELS)} names a machine")
    ended = entry.status == "resolved"
    said = entry.endsAt if ended and entry.endsAt and entry.endsAt.year > 1 else entry.startsAt
    at_ns = scale.plant_ns(_ns(said))
    if at_ns > now_ns + int(SKEW_S * scale.speed * 1e9):
        raise Malformed(
            f"it is of {said.isoformat()[:40]}, which is ahead of the gateway's clock by more "
            f"than {SKEW_S / 60:.0f} min"
        )
    notes, labels = entry.annotations, entry.labels
    title = notes.get("summary") or labels.get("alertname") or "Alert of another system"
    return Alert(
        id=_id(entry, device),
        device=device,
        ended=ended,
        title=line(title, TITLE_MAX),
        detail=line(notes.get("description") or notes.get("message") or "", DETAIL_MAX),
        severity=_SEVERITY.get(labels.get("severity", "").strip().lower(), Severity.MEDIUM),
        at_ns=max(0, min(at_ns, now_ns)),
        fault=line(labels.get("fault", ""), 64),
    )


def line(text: str, most: int) -> str:
    """Return a text from outside without what controls a terminal, at a bounded length."""
    return _CONTROL.sub(" ", text[:most]).strip()


def _id(entry: Entry, device: str) -> str:
    """Name the alert by what stays the same from its beginning to its end."""
    print_ = entry.fingerprint or repr(sorted(entry.labels.items()))
    told = msgspec.json.encode([device, print_, _ns(entry.startsAt)])
    return hashlib.sha256(told).hexdigest()[:32]


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
