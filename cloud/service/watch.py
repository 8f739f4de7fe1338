"""From the journal to verdicts: every machine's monitor, in order of arrival, across restarts.

Monitors are checkpointed with the journal position they stand for. After a crash the journal is
replayed from there; evidence that a case has seen before is older than its newest and acts on
nothing.
"""

import logging
from collections import deque
from typing import Protocol

import msgspec
from msgspec import Struct, field, structs

from cloud.adapters.journal import Entry
from cloud.adapters.series import Row
from cloud.adapters.store import AssetRow
from cloud.core import hours
from cloud.core import intake as rules
from cloud.core.hours import Hour
from cloud.core.intake import Freshness
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from cloud.service.peers import Peers, Today, restore_day, save_day
from cloud.service.peers import add as add_to_day
from cloud.service.peers import begin as begin_day
from cloud.web import metrics
from cloud.web.ports import Live
from contract import codec, firmware
from contract.errors import Malformed
from contract.machines import MachineType, Role
from contract.telemetry import Quality, Reading, TelemetryBatch, readings
from models.monitor import Assessment, State
from models.sample import Layout, sample
from models.settings import Settings
from models.silence import silent
from models.unaided import Watcher, kind

log = logging.getLogger(__name__)

READ_ENTRIES = 20
"""So many before the other loops have their turn."""
CHECKPOINT_S = 120.0
"""Plant time between checkpoints: what a crash makes us score again at most."""
SCORE_ROWS = 50_000
"""Scores that wait for the time-series store; the oldest give way, they can be computed again."""


class Verdicts(Protocol):
    """Who acts on what the watch sees: the desk."""

    def alarm(self, device: str, assessment: Assessment) -> None:
        """Open a case for the device, or sharpen the open one."""

    def evidence(self, device: str, assessment: Assessment) -> None:
        """Show the device's open case, if there is one, that it is well or not."""


class _Watched(Struct):
    """One machine under watch."""

    asset: AssetRow
    machine: MachineType
    monitor: Watcher
    live: Live
    today: Today
    position: int = 0
    newest_ns: int = 0
    heard: bool = False
    """Whether it has ever sent anything; nobody misses a machine that never spoke."""
    heard_ns: int = 0
    """When it was last heard, by the clock of attention."""
    dirty: bool = False
    hour: Hour = field(default_factory=Hour)


class Watch:
    """All monitors of this gateway."""

    def __init__(self, parts: Parts, verdicts: Verdicts, lives: Lives, peers: Peers) -> None:
        self._journal, self._clock = parts.journal, parts.clock
        self._memory, self._lives, self.peers = parts.store.memory, lives, peers
        self._layouts = {name: Layout(machine) for name, machine in parts.machines.items()}
        self._silent_after_s, self._verdicts = parts.config.silent_after_s, verdicts
        self._settings = Settings(
            commissioning_s=parts.config.commissioning_s,
            commissioning_samples=parts.config.commissioning_samples,
        )
        clock, assets, machines = parts.clock, parts.assets, parts.machines
        self._looked_ns = self._attention_ns = clock.now_ns()
        self._watched = {d: self._begin(a, machines[a.machine_type]) for d, a in assets.items()}
        self.position = min((w.position for w in self._watched.values()), default=0)
        self._checkpoint_ns = self._looked_ns
        self.scores: deque[Row] = deque(maxlen=SCORE_ROWS)

    def _begin(self, asset: AssetRow, machine: MachineType) -> _Watched:
        saved = self._memory.checkpoint(asset.device)
        live, layout = Live(device=asset.device, online=False), self._layouts[machine.name]
        if saved is None:
            return _Watched(
                asset, machine, kind(machine)(machine, self._settings), live, begin_day(layout)
            )
        try:
            monitor: Watcher = kind(machine).restore(machine, saved.data, self._settings)
        except Malformed as error:
            log.warning("%s is commissioned anew: %s", asset.device, error)
            monitor = kind(machine)(machine, self._settings)
        return _Watched(
            asset,
            machine,
            monitor,
            live,
            restore_day(self._memory.model(_day_name(asset.device)), layout),
            position=saved.position,
            heard=True,
            heard_ns=self._attention_ns,
            hour=self._saved_hour(asset.device),
        )

    def _saved_hour(self, device: str) -> Hour:
        saved = self._memory.model(_hour_name(device))
        try:
            return msgspec.msgpack.decode(saved, type=Hour) if saved else Hour()
        except msgspec.DecodeError as error:
            log.warning("the hour under way of %s begins anew: %s", device, error)
            return Hour()

    def live(self, device: str) -> Live | None:
        """Return the latest of a device; None while nothing came in."""
        watched = self._watched.get(device)
        return watched.live if watched and watched.live.last_ns else None

    def states(self) -> list[State | None]:
        """Return every machine's state, for counting."""
        return [w.live.state for w in self._watched.values()]

    def link(self, device: str, *, online: bool) -> None:
        """Note whether the device is reached, as its agent says."""
        watched = self._watched.get(device)
        if watched:
            watched.live = structs.replace(watched.live, online=online)

    def recommission(self, device: str) -> None:
        """Learn the device's healthy running anew."""
        watched = self._watched[device]
        watched.monitor.recommission()
        watched.dirty = True

    def drain(self) -> int:
        """Score what the journal has taken since last time; return how many entries."""
        found = self._journal.read(self.position, READ_ENTRIES)
        for entry_id, entry in found:
            watched = self._watched.get(entry.device)
            if watched and entry_id > watched.position:
                self._score(watched, entry)
                watched.position, watched.dirty = entry_id, True
            self.position = entry_id
        return len(found)

    def _score(self, w: _Watched, entry: Entry) -> None:
        batch = codec.decode(entry.payload, TelemetryBatch)
        for reading in readings(batch):
            now_ns = self._clock.now_ns()
            fresh = rules.freshness(
                reading.time_ns,
                historical=reading.historical,
                newest_ns=w.newest_ns,
                now_ns=now_ns,
                limits=rules.Limits(),
            )
            w.newest_ns = max(w.newest_ns, reading.time_ns)
            w.heard, w.heard_ns = True, self._attention_ns
            marked = ranged(w.machine, reading)
            assessment = w.monitor.update(marked)
            metrics.scored_readings.inc()
            self._keep_score(w, assessment)
            self._sum_up(w, marked, assessment)
            if fresh is not Freshness.LIVE:
                continue
            metrics.detection_delay_seconds.observe(max(0, now_ns - reading.time_ns) / 1e9)
            w.live = _live(w, reading, assessment)
            self._judge(w, assessment)

    def _judge(self, w: _Watched, assessment: Assessment) -> None:
        if assessment.state is State.ALARM:
            self._verdicts.alarm(w.asset.device, assessment)
        if assessment.state in (State.ALARM, State.HEALTHY):
            self._verdicts.evidence(w.asset.device, assessment)

    def _sum_up(self, w: _Watched, reading: Reading, assessment: Assessment) -> None:
        """Keep what lives are followed by, and what healthy machines are compared by.

        A machine in alarm has its case: among its peers it would stand out for days after.
        """
        if assessment.score is None:
            return  # not judged
        ended = hours.add(w.hour, assessment.time_ns, assessment.deviations)
        if ended is not None:
            self._lives.hour(w.asset.device, ended)
        if assessment.state is not State.HEALTHY or not self.peers.comparable(w.asset.device):
            return
        layout = self._layouts[w.machine.name]
        over = add_to_day(w.today, sample(layout, reading), layout)
        if over is not None:
            self.peers.day(w.asset.device, *over)

    def _keep_score(self, w: _Watched, assessment: Assessment) -> None:
        if assessment.score is None:
            return
        tags = {
            "device": w.asset.device,
            "site": w.asset.site,
            "machine_type": w.machine.name,
        }
        alarm = 1.0 if assessment.state is State.ALARM else 0.0
        fields = {"score": assessment.score, "alarm": alarm}
        self.scores.append(Row("score", tags, fields, assessment.time_ns))

    def silent_devices(self, *, listening: bool) -> list[str]:
        """Return the devices that have sent before and send nothing now.

        Silence is counted by a clock of attention: it stands still while the gateway does not
        listen, and a pause of the gateway itself hardly moves it. So nobody is called silent
        because we were deaf.
        """
        now_ns = self._clock.now_ns()
        gap_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if listening:
            self._attention_ns += min(gap_ns, int(self._silent_after_s * 1e9 / 10))
        return [
            device
            for device, w in self._watched.items()
            if w.heard
            and silent(
                w.heard_ns, self._attention_ns, w.machine.poll_interval_s, self._silent_after_s
            )
        ]

    def checkpoint_due(self) -> bool:
        """Tell whether it is time to save the monitors."""
        return self._clock.now_ns() - self._checkpoint_ns > CHECKPOINT_S * 1e9

    def checkpoint(self) -> int:
        """Save every monitor that has moved; return the position that needs no replay."""
        for device, w in self._watched.items():
            if w.dirty:
                sums = {
                    _hour_name(device): msgspec.msgpack.encode(w.hour),
                    _day_name(device): save_day(w.today, self._layouts[w.machine.name]),
                }
                self._memory.save_checkpoint(device, w.position, w.monitor.save(), sums)
                w.dirty = False
        self._checkpoint_ns = self._clock.now_ns()
        return self.position


def _hour_name(device: str) -> str:
    return f"hour/{device}"


def _day_name(device: str) -> str:
    return f"day/{device}"


def ranged(machine: MachineType, reading: Reading) -> Reading:
    """Mark values outside the plausible range: equipment without our agent does not do it."""
    quality = dict(reading.quality)
    for signal in machine.signals:
        value = reading.values.get(signal.name)
        low, high = signal.range
        if value is not None and quality[signal.name] is Quality.GOOD and not low <= value <= high:
            quality[signal.name] = Quality.UNCERTAIN
    return Reading(reading.time_ns, reading.values, quality, reading.historical)


def _live(w: _Watched, reading: Reading, assessment: Assessment) -> Live:
    modes = w.machine.with_role(Role.MODE)
    mode = ""
    if modes:
        raw = reading.values.get(modes[0].name)
        mode = "" if raw is None else modes[0].modes.get(f"{raw:g}", f"{raw:g}")
    number = reading.values.get(w.machine.firmware_signal or "")
    return Live(
        device=w.asset.device,
        online=True,
        last_ns=reading.time_ns,
        values=reading.values,
        state=assessment.state,
        score=assessment.score,
        progress=assessment.progress,
        firmware=_version(number) or w.live.firmware,
        mode=mode,
    )


def _version(number: float | None) -> str:
    if number is None:
        return ""
    try:
        return firmware.version_text(number)
    except Malformed:
        return ""  # a machine that reports nonsense for a moment, as while it boots
