"""A gateway's desk with cases moved by the real rules, and a real InfluxDB that gets its measures.

Time is the test's: it passes as fast as the rules can be computed.
"""

import asyncio
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from cloud.adapters.clock import PlantClock
from cloud.adapters.mqtt import Link
from cloud.adapters.series import Frame
from cloud.adapters.series_influx import InfluxSeries
from cloud.adapters.series_stores import open_series
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import playbook
from cloud.core.asset import AssetRow
from cloud.core.case import decode_case
from cloud.core.states import Case, Mode, Phase
from cloud.service.desk import Desk
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.measures import Measures, Sources
from cloud.service.outbox import DeviceCommand
from cloud.service.parts import Parts
from cloud.service.windows import Windows
from cloud.web.ports import Live
from cloud.worker.feed import EXTRA_FIELDS
from contract import machines
from contract.commands import Answer, AnswerStatus
from contract.faults import Deviation
from contract.status import Status
from contract.tickets import ClosingReport, Forecast
from contract.timescale import Timescale
from contract.topics import Channel, Topic
from models.monitor import Assessment, State

NS = 10**9
PUMP = machines.library()["centrifugal_pump"]
DEVICES = ("pump-1", "pump-2", "pump-3", "pump-4")
STEP_S = 10
SICK_SCORE = 1.8


class Clock:
    """Plant time that tests move."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        return self.ns


class Floor:
    """Machines that are well or sick as a test says, and what the gateway makes of it."""

    def __init__(self, folder: Path, url: str, begin_ns: int, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(begin_ns)
        self.database = database or f"d{uuid.uuid4().hex}"
        config = Config.model_validate(
            {
                "data_dir": folder,
                "mode_override": Mode.AUTO,
                "series": {"kind": "influx1", "url": url, "database": self.database},
            }
        )
        clock = cast("PlantClock", self.clock)
        series = open_series(config.series, folder / "unused.db", clock)
        assert isinstance(series, InfluxSeries)
        self.series = series
        self.store = Store(f"sqlite:///{folder / 'cases.db'}")
        tiers = dict(zip(DEVICES, ("A", "B", "C", "B"), strict=True))
        self.parts = Parts(
            config=config,
            timescale=Timescale(1.0, begin_ns),
            clock=clock,
            store=self.store,
            series=series,
            link=Link("mqtt://127.0.0.1:1", "", "", "farfix-gateway-test"),
            assets={device: _asset(device, tiers[device]) for device in DEVICES},
            machines=machines.library(),
        )
        self.states = dict.fromkeys(DEVICES, State.HEALTHY)
        self.begin()

    def begin(self) -> None:
        """Start the desk and its measures, or start them again."""
        books = playbook.shipped(self.parts.machines)
        lives = Lives(self.parts, books.policy.on_site_lead_h)
        windows = Windows(
            live=self.live,
            states=dict,
            boards=list,
            notices=lambda _: [],
            unready=list,
            updating=lambda _: "",
            troubles=list,
        )
        self.desk = Desk(self.parts, books, Learning(self.parts, lives), lives, windows)
        self.measures = Measures(
            self.parts,
            Sources(
                live=self.live,
                forecast=self.forecast,
                boards=list,
                agents=self.agents,
                deliveries=lambda: (3, 1),
            ),
        )

    def close(self) -> None:
        self.store.close()
        self.series.close()

    # What the gateway's other parts would tell.

    def live(self, device: str) -> Live | None:
        state = self.states[device]
        score = SICK_SCORE if state is State.ALARM else 0.3
        now_ns = self.clock.now_ns()
        return Live(device=device, online=True, last_ns=now_ns, state=state, score=score)

    def forecast(self, device: str) -> Forecast | None:
        if device != DEVICES[0]:
            return None
        now_ns, hour = self.clock.now_ns(), 3600 * NS
        return Forecast(
            told_ns=now_ns,
            expected_ns=now_ns + 400 * hour,
            earliest_ns=now_ns + 200 * hour,
            latest_ns=None,
            book_before_ns=now_ns + 100 * hour,
        )

    def agents(self) -> list[Status]:
        now_ns = self.clock.now_ns()
        waiting = now_ns - 30 * NS
        return [
            Status(
                online=True, at_ns=now_ns, agent="edge", spool_bytes=4096, spool_oldest_ns=waiting
            )
        ]

    # What happens to machines.

    def minutes(
        self, minutes: float, sick: dict[str, str] | None = None, *, noticed: bool = True
    ) -> None:
        """Let time pass; the machines named are sick with these faults, the others are well.

        A fault that is not noticed shows in telemetry and scores, and opens no case yet.
        """
        faults, ticks = sick or {}, int(minutes * 60 / STEP_S)
        times_ns = self.clock.ns + np.arange(ticks) * STEP_S * NS
        for device in DEVICES:
            self.states[device] = State.ALARM if device in faults else State.HEALTHY
            self.series.write([telemetry(device, times_ns, sick=device in faults)])
        for _ in range(ticks):
            for device in DEVICES if noticed else ():
                self._seen(device, faults.get(device, ""))
            self.desk.tick([])
            self._answer()
            self.clock.ns += STEP_S * NS

    def _seen(self, device: str, fault: str) -> None:
        now_ns = self.clock.now_ns()
        if fault:
            seen = Assessment(now_ns, State.ALARM, SICK_SCORE, picture(fault), [], 1.0)
            self.desk.alarm(device, seen)
        else:
            seen = Assessment(now_ns, State.HEALTHY, 0.3, [], [], 1.0)
        self.desk.evidence(device, seen)

    def _answer(self) -> None:
        """Answer every command that is out: it was done."""
        for row in self.store.open_cases():
            if row.phase == Phase.FIXING:
                box = [r for r in self.store.outbox(row.case_id) if r.kind == "command"]
                sent = msgspec.json.decode(box[-1].payload, type=DeviceCommand)
                reply = Answer(
                    id=sent.command.id, status=AnswerStatus.DONE, at_ns=self.clock.now_ns()
                )
                self.desk.answered(Topic("north", row.device, Channel.ANSWER), reply)

    def case(self, device: str) -> Case:
        """Return a device's newest case."""
        return decode_case(self.store.cases(device=device)[0].data)

    def report(self, device: str, finding: str) -> None:
        """Let the technician close a device's case."""
        report = ClosingReport(finding=finding)
        asyncio.run(self.desk.report(self.case(device).case_id, report))

    def measure(self) -> None:
        """Take one picture of everything, and write all that waits."""

        async def once() -> None:
            await self.measures.look_round()
            await self.measures.look_at_load()
            await self.measures.write(self.series)

        asyncio.run(once())


@contextmanager
def floor(folder: Path, url: str, begin_ns: int, database: str = "") -> Iterator[Floor]:
    """Open a floor and close it."""
    made = Floor(folder, url, begin_ns, database)
    try:
        yield made
    finally:
        made.close()


def _asset(device: str, tier: str) -> AssetRow:
    row = {"device": device, "site": "north", "machine_type": PUMP.name, "tier": tier}
    return msgspec.convert(row, AssetRow)


def picture(fault: str) -> list[Deviation]:
    """Return what the fault table says that one sees."""
    spec = PUMP.fault(fault)
    assert spec is not None
    return [Deviation(s.signal, s.direction, 4.5 * s.weight, 6.0, 2.0) for s in spec.symptoms]


def telemetry(device: str, times_ns: np.ndarray, *, sick: bool) -> Frame:
    """Return rows as the feed writes them: every signal within its range, and the scores."""
    rows = len(times_ns)
    columns = []
    for signal in PUMP.signals:
        low, high = signal.range
        middle, swing = low + 0.4 * (high - low), 0.05 * (high - low)
        phase = np.arange(rows) / 7.0
        columns.append(middle + swing * np.sin(phase) + (2 * swing if sick else 0.0))
    score = np.full(rows, SICK_SCORE if sick else 0.3)
    columns += [np.zeros(rows), score, (score >= 1).astype(float)]
    fields = (*(signal.name for signal in PUMP.signals), *EXTRA_FIELDS)
    values = np.column_stack(columns)
    assert not math.isnan(values.sum())
    return Frame(PUMP.name, fields, [device] * rows, ["north"] * rows, times_ns, values)
