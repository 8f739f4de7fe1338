"""The fleet as open browsers follow it: read once per beat for all, told as what changed."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from nicegui import background_tasks

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.frame import load
from cloud.web.ports import Desk
from cloud.web.schemas import FleetMachine
from cloud.web.views import Views
from contract.errors import Unreachable

FEED_BEAT_S = 0.5
"""Wall seconds between two readings of the fleet while anybody looks."""
SPARK_EVERY_S = 10.0
SPARK_SPAN_NS = 3600 * words.NS
SPARK_POINTS = 80

Fixed = tuple[str, str, str, str, str, str]
"""Device, title, site, machine type's title, tier, and what else is searched."""
State = tuple[str, str, float | None, int | None, int, tuple[str, str, int, str, int] | None]
"""Status, its words, score, latest reading (s), progress (%), and the open case:
id, fault, probability (%), phase in words, opened (s)."""
News = dict[str, object]


class Picture(NamedTuple):
    """The fleet at one moment."""

    now_s: int
    summary: dict[str, int]
    machines: list[Fixed]
    states: list[State]


def news(old: Picture | None, new: Picture) -> News:
    """Return what a browser that shows the old picture needs in order to show the new one."""
    found: News = {"now": new.now_s, "summary": new.summary}
    if old is None or old.machines != new.machines:
        found["machines"] = new.machines
        old = None
    found["states"] = [
        (i, *state) for i, state in enumerate(new.states) if old is None or state != old.states[i]
    ]
    return found


class Feed:
    """The newest picture, for everybody who looks."""

    def __init__(self, desk: Desk, views: Views) -> None:
        self._desk, self._views = desk, views
        self._followers: dict[object, Callable[[Picture], None]] = {}
        self._newest: tuple[float, Picture] | None = None
        self._drawn: dict[str, tuple[float, str]] = {}
        self._pen = threading.Lock()
        self._runs = False

    async def picture(self) -> Picture:
        """Return a picture that is at most a beat old.

        Raises:
            Unreachable: the store does not answer.
        """
        if self._newest is None or time.monotonic() - self._newest[0] > FEED_BEAT_S:
            found = await load(self._read)
            self._newest = (time.monotonic(), found)
        return self._newest[1]

    def follow(self, who: object, take: Callable[[Picture], None]) -> None:
        """Call somebody with every new picture, until they leave."""
        self._followers[who] = take
        if not self._runs:
            self._runs = True
            background_tasks.create(self._run(), name="fleet feed")

    def leave(self, who: object) -> None:
        """Call somebody no more."""
        self._followers.pop(who, None)

    async def _run(self) -> None:
        try:
            while self._followers:
                began = time.monotonic()
                with suppress(Unreachable):  # browsers keep the last picture; a banner tells
                    found = await load(self._read)
                    self._newest = (time.monotonic(), found)
                    for take in list(self._followers.values()):
                        take(found)
                took_s = time.monotonic() - began
                await asyncio.sleep(max(FEED_BEAT_S - took_s, took_s))
        finally:
            self._runs = False

    def _read(self) -> Picture:
        fleet = self._views.fleet()
        machines = sorted(fleet.machines, key=lambda machine: machine.device)
        return Picture(
            fleet.now_ns // words.NS,
            fleet.summary.model_dump(),
            [_fixed(machine) for machine in machines],
            [_state(machine) for machine in machines],
        )

    def sparks(self, devices: list[str]) -> dict[str, str]:
        """Return the small lines of machines; each is read once in a while, for all who look.

        Raises:
            Unreachable: the series store does not answer.
        """
        with self._pen:
            return {device: self._spark(device) for device in devices}

    def _spark(self, device: str) -> str:
        drawn = self._drawn.get(device)
        if drawn is not None and time.monotonic() - drawn[0] < SPARK_EVERY_S * 0.8:
            return drawn[1]
        asset = self._desk.store.asset(device)
        if asset is None:
            return ""
        now_ns = self._desk.now_ns()
        span = (now_ns - SPARK_SPAN_NS, now_ns, SPARK_POINTS)
        found = self._desk.series.read(asset.machine_type, device, ["score"], *span)
        path = charts.spark(found.times_ns, found.columns["score"], *span[:2])
        self._drawn[device] = (time.monotonic(), path)
        return path


def _fixed(machine: FleetMachine) -> Fixed:
    more = " ".join((machine.serial, machine.address, *machine.labels))
    return (
        machine.device, machine.title, machine.site, machine.machine_type_title, machine.tier, more,
    )  # fmt: skip


def _state(machine: FleetMachine) -> State:
    case = machine.case
    return (
        machine.status,
        machine.status_text,
        None if machine.score is None else round(machine.score, 2),
        None if machine.last_ns is None else machine.last_ns // words.NS,
        round(machine.progress * 100),
        None
        if case is None
        else (
            case.case_id,
            case.title,
            round(case.probability * 100),
            case.phase_text,
            case.opened_ns // words.NS,
        ),
    )
