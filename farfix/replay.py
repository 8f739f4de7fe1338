"""``farfix replay``: a recording goes through MQTT and the whole loop as if it were live."""

import bisect
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from cloud.adapters import broker, series_files
from cloud.adapters.broker import Broker, User
from cloud.adapters.clock import PlantClock
from contract import codec, machines, topics
from contract.errors import Malformed
from contract.machines import MachineType
from contract.telemetry import Ack, TelemetryBatch
from contract.timescale import Timescale
from contract.topics import Channel
from farfix import recording, toml
from farfix.api import Detail, Gateway
from farfix.children import Children, end_like_ctrl_c, free_port
from farfix.recording import Recording

SITE = "replay"
MAX_TICKS = 100
READY_TIMEOUT_S = 180.0
ACK_TIMEOUT_S = 30.0
AFTERMATH_S = 1200.0
"""Plant time that open cases get after the last row."""
AGENT = "replay-agent"


class Player:
    """Publishes a recording as a device's telemetry and hears what the gateway acknowledges."""

    def __init__(self, its_broker: Broker, device: str, source: Recording) -> None:
        self.boot = secrets.token_hex(8)
        self.sequence = 0
        self.acknowledged = 0
        self._topic = topics.build(SITE, device, Channel.TELEMETRY)
        self._source = source
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(AGENT, its_broker.password(AGENT))
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", its_broker.port)
        self._client.subscribe(topics.build(SITE, device, Channel.ACK), qos=1)
        self._client.loop_start()

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        ack = codec.decode(bytes(message.payload), Ack)
        if ack.boot == self.boot:
            self.acknowledged = max(self.acknowledged, ack.sequence)

    def send(self, first: int, last: int, start_ns: int) -> None:
        """Publish rows ``first`` to before ``last`` with their spacing counted from a start."""
        source = self._source
        shift_ns = start_ns - source.times_ns[0]
        for i in range(first, last, MAX_TICKS):
            part = slice(i, min(i + MAX_TICKS, last))
            self.sequence += 1
            batch = TelemetryBatch(
                signals=source.signals,
                times_ns=[at + shift_ns for at in source.times_ns[part]],
                values=source.rows[part],
                boot=self.boot,
                sequence=self.sequence,
                oldest=self.acknowledged + 1,
            )
            self._client.publish(self._topic, codec.encode(batch), qos=1)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


class Plan(Struct, frozen=True):
    """What is replayed, and how fast."""

    file: Path
    device: str
    machine: MachineType
    source: Recording
    speed: float
    commissioning_rows: int

    def file_time(self, at_ns: int, start_ns: int) -> str:
        """Return the file's own time for a moment of the replay."""
        return _moment(at_ns - start_ns + self.source.times_ns[0])


def main(file: Path, machine_type: str, device: str, speed: float, commissioning_rows: int) -> int:
    """Replay a file; return the exit code."""
    known = machines.library()
    if machine_type not in known:
        raise Malformed(f"there is no machine type {machine_type!r}; known are: {', '.join(known)}")
    machine = known[machine_type]
    source = recording.read(file, machine)
    if commissioning_rows >= len(source.rows):
        raise Malformed(
            f"{file} has {len(source.rows)} rows; --commissioning-rows must leave some to judge"
        )
    plan = Plan(file, topics.name(device), machine, source, speed, commissioning_rows)
    end_like_ctrl_c()
    try:
        return run(plan)
    except KeyboardInterrupt:
        print("Interrupted; everything is stopped.", file=sys.stderr)
        return 1


def run(plan: Plan) -> int:
    """Start a broker and a gateway, play, tell, and end everything."""
    folder = (Path("var") / f"replay-{plan.device}").absolute()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    scale = Timescale(plan.speed, PlantClock().now_ns())
    port, users = free_port(), [User("gateway"), User(AGENT, SITE)]
    _introduce(plan)
    with (
        broker.start(folder / "broker", users) as its_broker,
        Children(folder / "logs") as children,
    ):
        config = folder / "cloud.toml"
        config.write_text(toml.dumps(_config(plan, folder, its_broker, port, scale)))
        token = secrets.token_urlsafe(24)
        (folder / "api.token").write_text(token)
        gateway = Gateway(f"http://127.0.0.1:{port}", token)
        children.start("cloud", "cloud", "--config", str(config))
        children.await_ready("the gateway", gateway.healthy, READY_TIMEOUT_S)
        password = (folder / "cloud" / "admin-password").read_text().strip()
        print(
            f"Console while it runs: http://127.0.0.1:{port} (sign in as admin with {password})\n"
        )
        player = Player(its_broker, plan.device, plan.source)
        try:
            details, start_ns = _play(plan, player, gateway, children, PlantClock(scale))
        finally:
            player.close()
        missing = player.sequence - player.acknowledged
    _summary(plan, details, start_ns, sorted((folder / "cloud").glob("telemetry-*.db")))
    if missing:
        print(f"NOT AS IT SHOULD BE: {missing} batches were not acknowledged", file=sys.stderr)
    return 1 if missing else 0


def _config(
    plan: Plan, folder: Path, its_broker: Broker, port: int, scale: Timescale
) -> toml.Table:
    times_ns = plan.source.times_ns
    span_s = (times_ns[plan.commissioning_rows - 1] - times_ns[0]) / 1e9
    return {
        "data_dir": folder / "cloud",
        "api_token_file": folder / "api.token",
        "timescale": str(scale),
        "http_port": port,
        "commissioning_s": span_s,
        "commissioning_samples": max(20, int(0.9 * plan.commissioning_rows)),
        "silent_after_s": 1e9,  # the end of a file is no fault of the machine
        "broker": {
            "url": its_broker.url,
            "username": "gateway",
            "password_file": its_broker.password_file("gateway"),
        },
        "assets": [
            {
                "device": plan.device,
                "site": SITE,
                "machine_type": plan.machine.name,
                "title": f"{plan.machine.title}, from {plan.file.name}",
            }
        ],
    }


def _introduce(plan: Plan) -> None:
    source = plan.source
    span_s = (source.times_ns[-1] - source.times_ns[0]) / 1e9
    print(
        f"{plan.file}: {len(source.rows)} rows over {span_s / 60:.1f} min, "
        f"{len(source.signals)} signals of {plan.machine.title}.\n"
        f"Simulated time runs {plan.speed:g} x faster than the clock; about "
        f"{(span_s) / plan.speed:.0f} s and what open cases need afterwards.\n"
        f"The first {plan.commissioning_rows} rows are commissioning."
    )
    if source.ignored:
        print(f"Columns that are no signal: {', '.join(source.ignored)}")
    if source.skipped:
        print(f"Rows left out because their time does not increase: {source.skipped}")


def _play(
    plan: Plan, player: Player, gateway: Gateway, children: Children, clock: PlantClock
) -> tuple[list[Detail], int]:
    """Send every row when its time has come, and tell what the gateway makes of it."""
    times_ns, details = plan.source.times_ns, dict[str, Detail]()
    start_ns, sent = clock.now_ns(), 0
    end_ns = start_ns + times_ns[-1] - times_ns[0] + int(AFTERMATH_S * 1e9)
    while clock.now_ns() < end_ns:
        children.check()
        due = bisect.bisect_right(times_ns, clock.now_ns() - start_ns + times_ns[0])
        player.send(sent, due, start_ns)
        sent = due
        for line in _news(gateway, details):
            at_ns, text = line
            print(f"{plan.file_time(at_ns, start_ns)}  {text}")
        if sent == len(times_ns) and not any(_waits(d) for d in details.values()):
            break
        time.sleep(0.2)
    deadline_s = time.monotonic() + ACK_TIMEOUT_S
    while player.acknowledged < player.sequence and time.monotonic() < deadline_s:
        time.sleep(0.1)
    time.sleep(1.0)  # the telemetry store follows at its own pace
    list(_news(gateway, details))
    return list(details.values()), start_ns


def _waits(detail: Detail) -> bool:
    return detail.open and detail.phase != "dispatched"


def _news(gateway: Gateway, details: dict[str, Detail]) -> Iterator[tuple[int, str]]:
    """Fetch cases that have changed and yield what is new in their timelines."""
    for case in gateway.cases():
        known = details.get(case.case_id)
        if known is not None and known.updated_ns == case.updated_ns:
            continue
        detail = gateway.case(case.case_id)
        for entry in detail.timeline[len(known.timeline) if known else 0 :]:
            yield entry.at_ns, entry.text
        details[case.case_id] = detail


def _summary(plan: Plan, details: list[Detail], start_ns: int, series: list[Path]) -> None:
    """Print when it was alarmed, what led, what the file says itself, and what came of it."""
    print("\nDetections, in the file's own time:")
    alarms = _alarms(series)
    for first_ns, last_ns, peak in alarms:
        print(
            f"  {plan.file_time(first_ns, start_ns)} to {plan.file_time(last_ns, start_ns)}"
            f"  score up to {peak:.1f} (1.0 is the alarm level)"
        )
    if not alarms:
        print("  none")
    marked = recording.spans(plan.source.labelled)
    for first, last in marked:
        print(
            f"The file itself marks {_moment(plan.source.times_ns[first])} to "
            f"{_moment(plan.source.times_ns[last])} as abnormal."
        )
    for detail in sorted(details, key=lambda d: d.opened_ns):
        leading = ", ".join(
            f"{d.signal} {d.direction} by {d.sigmas:.1f} sigma" for d in detail.deviations[:4]
        )
        named = ", ".join(f"{h.fault} {h.probability:.0%}" for h in detail.hypotheses[:3])
        print(
            f"Case {detail.case_id}, opened {plan.file_time(detail.opened_ns, start_ns)}\n"
            f"  leading signals: {leading}\n  likeliest: {named}\n  phase: {detail.phase}"
            + (f", ticket {detail.ticket_key}" if detail.ticket_key else "")
        )


def _alarms(series: list[Path]) -> list[tuple[int, int, float]]:
    """Return first and last time and highest score of every alarm, from the stored scores."""
    found = []
    for device in (device for file in series for device in series_files.everything(file)):
        alarm, score = (device.values[:, device.fields.index(f)] for f in ("alarm", "score"))
        judged = ~np.isnan(score)
        times_ns, alarm, score = device.times_ns[judged], alarm[judged], score[judged]
        found += [
            (int(times_ns[a]), int(times_ns[b]), float(score[a : b + 1].max()))
            for a, b in recording.spans((alarm > 0).tolist())
        ]
    return found


def _moment(at_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ns // 10**9))
