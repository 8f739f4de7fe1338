"""Writes what the gateway does as measurements, for Grafana: cases, visits, machines, its load.

What cases did is read from their timeline behind a cursor that moves only after it was written, so
that nothing is lost while the database is away; repeated points are the same points. That of the
last days is written again at every start, in case the database was set back or lost meanwhile.
Pictures of machines and of the load wait in memory, and the oldest give way.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from cloud.adapters import measures as rows
from cloud.adapters.board import Board
from cloud.adapters.series_influx import LINES_MAX, InfluxSeries
from cloud.core import measured
from cloud.core.case import decode_case
from cloud.core.course import ALARM_LEVEL
from cloud.core.evidence import NS
from cloud.core.measured import Point
from cloud.core.states import Case
from cloud.service.load import Load
from cloud.service.parts import Parts
from cloud.web.ports import Live
from contract.errors import Unreachable
from contract.status import Status
from contract.tickets import Forecast
from models.monitor import State

log = logging.getLogger(__name__)

POLL_S = 1.0
LOAD_S = 10.0
MACHINES_S = 60.0
BREATH = 200
"""After so many machines other loops get their turn."""
LINES_OF_TIMELINE = 500
"""Lines that are read at once, and with their cases and ends written at once."""
SNAPSHOTS_MAX = 50_000
"""Points of machines and load that wait in memory while the database is away."""
CURSOR = "measures/cursor"
AGAIN_NS = 30 * 24 * 3600 * NS
"""What cases did so lately is written again at every start."""
DETECT_LOOK_NS = 6 * 3600 * NS
"""The beginning of an alarm is looked for so long before its case was opened."""
DETECT_POINTS = 2000


class Sources(Struct, frozen=True):
    """Where what is measured is seen."""

    live: Callable[[str], Live | None]
    forecast: Callable[[str], Forecast | None]
    boards: Callable[[], list[Board]]
    agents: Callable[[], list[Status]]
    deliveries: Callable[[], tuple[int, int]]
    """How many webhook deliveries wait, and how many were given up."""


class Measures:
    """One loop; writes only where the time-series store is an InfluxDB."""

    def __init__(self, parts: Parts, sources: Sources) -> None:
        self._parts, self._sources = parts, sources
        self._series = parts.series if isinstance(parts.series, InfluxSeries) else None
        saved = parts.store.memory.model(CURSOR)
        again = rows.before(parts.store.engine, parts.clock.now_ns() - AGAIN_NS)
        self._cursor = min(int(saved) if saved else 0, again)
        self._load = Load(sources.boards())
        self._name = parts.link.client_id
        self._snapshots: deque[Point] = deque(maxlen=SNAPSHOTS_MAX)
        self._problem = ""

    def troubles(self) -> list[str]:
        """Say why nothing can be written."""
        return [f"Figures for Grafana wait: {self._problem}."] if self._problem else []

    async def run(self) -> None:
        """Write until cancelled."""
        if self._series is None:
            await asyncio.Event().wait()
            return
        looked_s = dict.fromkeys((LOAD_S, MACHINES_S), -MACHINES_S)
        while True:
            now_s = time.monotonic()
            for every_s, look in ((LOAD_S, self.look_at_load), (MACHINES_S, self.look_round)):
                if now_s >= looked_s[every_s] + every_s:
                    looked_s[every_s] = now_s
                    await look()
            await self.write(self._series)
            await asyncio.sleep(POLL_S)

    async def write(self, series: InfluxSeries) -> None:
        """Write what there is; what cannot be written now waits."""
        try:
            await asyncio.to_thread(self._flush, series)
            while await asyncio.to_thread(self._tell, series):
                pass
        except Unreachable as error:
            if not self._problem:
                log.warning("measurements: %s; they wait", error)
            self._problem = str(error)
        else:
            self._problem = ""

    # What cases did.

    def _tell(self, series: InfluxSeries) -> bool:
        """Write what follows from the next lines of the timeline; false: there are none."""
        store = self._parts.store
        lines = rows.notes(store.engine, self._cursor, LINES_OF_TIMELINE)
        if not lines:
            return False
        cases: dict[str, Case] = {}
        for line in lines:
            if line.case_id not in cases and (row := store.case(line.case_id)):
                cases[line.case_id] = decode_case(row.data)
        points = [measured.note(line, cases[line.case_id]) for line in lines]
        for case in cases.values():
            points += measured.visits(case)
            if not case.open:
                points.append(measured.end(case, alarm_since(series, case)))
        self._send(series, points)
        self._cursor = lines[-1].number
        store.memory.put_models({CURSOR: str(self._cursor).encode()})
        return True

    # Pictures of machines and of the load.

    async def look_round(self) -> None:
        """Take a picture of every machine."""
        open_cases: dict[str, Case] = {}
        try:
            for row in await asyncio.to_thread(self._parts.store.open_cases):
                open_cases[row.device] = decode_case(row.data)
        except Unreachable as error:
            log.warning("measurements of machines are left out: %s", error)
            return
        for i, device in enumerate(self._parts.assets):
            self._snapshots.append(self._machine(device, open_cases.get(device)))
            if i % BREATH == BREATH - 1:
                await asyncio.sleep(0)

    def _machine(self, device: str, case: Case | None) -> Point:
        asset, live = self._parts.assets[device], self._sources.live(device)
        now_ns, life = self._parts.clock.now_ns(), self._sources.forecast(device)
        silent_ns = int(self._parts.config.silent_after_s * NS)
        heard = live is not None and now_ns - (live.last_ns or 0) <= silent_ns
        state = live.state.value if heard and live and live.state else "no_data"
        alarm = state == State.ALARM
        return Point(
            "farfix_machine",
            {
                "device": device,
                "site": asset.site,
                "machine_type": asset.machine_type,
                "tier": asset.tier,
            },
            {
                "status": float(measured.STATUS[state]),
                "in_alarm": float(alarm),
                "silent": float(state == "no_data"),
                "score": live.score if heard and live else None,
                "online": float(heard and live is not None and live.online),
                "case_open": float(case is not None),
                "alarm_without_case": float(alarm and case is None),
                "case": case.case_id if case else None,
                "restore_left_s": (case.plan.due_ns - now_ns) / NS if case else None,
                "life_expected_h": _hours(life.expected_ns, now_ns) if life else None,
                "life_earliest_h": _hours(life.earliest_ns, now_ns) if life else None,
            },
            now_ns,
        )

    async def look_at_load(self) -> None:
        """Take a picture of the gateway's load."""
        now_ns, agents = self._parts.clock.now_ns(), self._sources.agents()
        try:
            boxes = await asyncio.to_thread(rows.boxes, self._parts.store.engine)
            waiting, dead = await asyncio.to_thread(self._sources.deliveries)
        except Unreachable as error:
            log.warning("measurements of the gateway's load are left out: %s", error)
            return
        oldest_ns = min((a.spool_oldest_ns for a in agents if a.spool_oldest_ns), default=now_ns)
        fields = self._load.since_last(self._sources.boards(), boxes.quarantined)
        fields |= {
            "spool_bytes": float(sum(agent.spool_bytes for agent in agents)),
            "spool_oldest_s": max(0.0, (now_ns - oldest_ns) / NS),
            "agents_losing": float(sum(bool(agent.spool_full) for agent in agents)),
            "outbox_waiting": float(boxes.waiting),
            "outbox_dead": float(boxes.dead),
            "deliveries_waiting": float(waiting),
            "deliveries_dead": float(dead),
            "measures_waiting": float(len(self._snapshots)),
        }
        self._snapshots.append(Point("farfix_gateway", {"gateway": self._name}, fields, now_ns))

    def _flush(self, series: InfluxSeries) -> None:
        while self._snapshots:
            some = [self._snapshots[i] for i in range(min(LINES_MAX, len(self._snapshots)))]
            self._send(series, some)
            for _ in some:
                self._snapshots.popleft()

    def _send(self, series: InfluxSeries, points: list[Point]) -> None:
        """Write points of one kind. What is refused for ever is logged: it would be so again."""
        for_good = measured.MEASUREMENTS[points[0].measurement].for_good
        lines = [rows.encode(point) for point in points]
        for start in range(0, len(lines), LINES_MAX):
            some = lines[start : start + LINES_MAX]
            for i, reason in series.write_lines(some, for_good=for_good):
                point = points[start + i]
                log.warning("a point of %s is refused: %s", point.measurement, reason)


def alarm_since(series: InfluxSeries, case: Case) -> int | None:
    """Return since when, unbroken, the score had been at the alarm level when a case was opened.

    Returns:
        None where the score was below it or is not stored.

    Raises:
        Unreachable: the database does not answer.
    """
    opened_ns = case.opened_ns
    begin_ns = opened_ns - DETECT_LOOK_NS
    found = series.read(
        case.machine_type, case.device, ["score"], begin_ns, opened_ns + 1, DETECT_POINTS
    )
    since_ns = None
    for time_ns, score in zip(found.times_ns, found.columns["score"], strict=True):
        if score is None or score < ALARM_LEVEL:
            since_ns = None
        elif since_ns is None:
            since_ns = max(time_ns, begin_ns)
    return since_ns


def _hours(at_ns: int | None, now_ns: int) -> float | None:
    return None if at_ns is None else max(0.0, (at_ns - now_ns) / NS / 3600)
