"""Alerts of other systems, in the shape of Alertmanager and Grafana."""

import asyncio
import hashlib
import hmac
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, Field

from cloud.adapters.mqtt import read_password
from cloud.core.people import Person, Role
from cloud.web import alert_shape, openapi
from cloud.web.api import DENIED, PROBLEMS
from cloud.web.guard import Doors, RequestBody
from cloud.web.people_ports import People
from cloud.web.ports import Desk
from contract.errors import Malformed, Refused

TOLERANCE_S = 300
"""How far a signed time may be off."""
EXAMPLE = {
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "OilLow", "device": "pump-1", "severity": "warning"},
            "annotations": {"summary": "Oil level low", "description": "12 % left."},
            "startsAt": "2026-11-22T18:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "c5d6a2f0b1e3a7d4",
        }
    ],
}
SAID = (
    "Opens a case for the machine that the label `farfix_device`, or else `device`, names; "
    "the end of the alert ends it. The same again changes nothing. Alerts that cannot be taken "
    "do not hold up the others: the answer says what became of each."
)


class AlertOutcome(BaseModel):
    """What became of one alert."""

    device: str = Field(examples=["pump-1"])
    outcome: Literal["taken", "nothing_to_do", "refused"]
    case_id: Annotated[str, Field(description="What it opened, ended or was told to.")] = ""
    detail: Annotated[str, Field(description="Why it was refused.")] = ""


class AlertsTaken(BaseModel):
    """What became of the alerts of one request, in their order."""

    alerts: list[AlertOutcome]


def routes(desk: Desk, people: People, doors: Doors, secret_file: Path | None) -> APIRouter:
    """Return the routes.

    Args:
        desk: the service.
        people: keeps the audit log.
        doors: knows who may hand in alerts.
        secret_file: the key by which Grafana signs; None: nothing signed is taken.
    """
    router = APIRouter(prefix="/api", tags=["alerts"], responses=PROBLEMS | DENIED)
    extra = openapi.body(alert_shape.Shape, EXAMPLE, "Fields that are not named here are ignored.")

    @router.post(
        "/alerts",
        summary="Take alerts of Alertmanager or Grafana",
        description=SAID,
        openapi_extra=extra,
    )
    async def take(
        person: Annotated[Person, Depends(doors.needs(Role.ALERTS))], body: RequestBody
    ) -> AlertsTaken:
        return await _take(desk, people, person.name, body)

    _signed(router, desk, people, read_password(secret_file).encode(), extra)
    return router


def _signed(
    router: APIRouter, desk: Desk, people: People, key: bytes, extra: dict[str, Any]
) -> None:
    @router.post(
        "/alerts/signed",
        summary="Take alerts that Grafana has signed",
        description=f"{SAID} Instead of a token it asks for Grafana's signature: the HMAC-SHA256 "
        "of the body, or of `timestamp:body` where a timestamp is sent, in hex. The key stands in "
        "the gateway's setting `alerts_secret_file`.",
        openapi_extra=extra,
    )
    async def take_signed(
        body: RequestBody,
        signature: Annotated[
            str, Header(alias="X-Grafana-Alerting-Signature", max_length=200)
        ] = "",
        stamp: Annotated[
            str,
            Header(
                alias="X-Grafana-Alerting-Timestamp",
                max_length=20,
                description="In seconds since 1970 UTC.",
            ),
        ] = "",
    ) -> AlertsTaken:
        trouble = _forged(key, body, signature, stamp)
        if trouble:
            people.refused("", f"signed alerts: {trouble}")
            raise HTTPException(401, trouble)
        return await _take(desk, people, "grafana", body)


def _forged(key: bytes, body: bytes, signature: str, stamp: str) -> str:
    """Say why a signature is not believed; empty: it holds."""
    if not key:
        return "Signed alerts are not set up here: set alerts_secret_file, or send a token."
    signed = f"{stamp}:".encode() + body if stamp else body
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
        return "The signature in X-Grafana-Alerting-Signature does not fit the body and our key."
    now_s = int(time.time())  # noqa: TID251 - a signature is made in wall time
    told_s = int(stamp) if stamp.isascii() and stamp.isdigit() else 0
    if stamp and abs(told_s - now_s) > TOLERANCE_S:
        return f"The signed time is off by more than {TOLERANCE_S} s; it is {now_s} here."
    return ""


async def _take(desk: Desk, people: People, by: str, body: bytes) -> AlertsTaken:
    try:
        found = alert_shape.entries(body)
    except Malformed as error:
        people.refused(by, f"alerts: {error}"[:1000])
        raise
    outcomes = []
    for raw in found:
        outcomes.append(await _one(desk, raw))
        await asyncio.sleep(0)  # many alerts hold up nobody else
    refused = [each for each in outcomes if each.outcome == "refused"]
    if refused:
        why = "; ".join(f"{each.device or 'no machine'}: {each.detail}" for each in refused[:5])
        text = f"{len(refused)} of {len(outcomes)} alerts: {why}"
        people.refused(by, text[:1000])
    return AlertsTaken(alerts=outcomes)


async def _one(desk: Desk, raw: msgspec.Raw) -> AlertOutcome:
    device = ""
    try:
        alert = alert_shape.read(raw, desk.now_ns(), desk.timescale)
        device = alert.device
        asset = desk.store.asset(device)
        if asset is None:
            raise Refused(f"there is no machine {device!r} here; GET /api/fleet lists all")  # noqa: TRY301
        machine = desk.machines.get(asset.machine_type)
        if machine is not None and machine.fault(alert.fault) is None:
            alert = msgspec.structs.replace(alert, fault="")
        case_id = await desk.alerted(alert)
    except (Malformed, Refused) as error:
        return AlertOutcome(device=device, outcome="refused", detail=str(error)[:500])
    outcome: Literal["taken", "nothing_to_do"] = "taken" if case_id else "nothing_to_do"
    return AlertOutcome(device=device, outcome=outcome, case_id=case_id)
