"""What `bench_path` found, as a page with one chart."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from tests.bench import path_chart, report
from tests.bench.path_full import Found
from tests.bench.path_outage import Outage
from tests.bench.path_phases import Phase
from tests.bench.path_receivers import Received
from tests.bench.path_targets import Target, paho_us
from tests.bench.report import Row, Table, number

HEAD = [
    "", "QoS", "devices", "CPU us/message", "x paho", "CPU us/value", "messages/s",
    "p50 ms", "p99 ms", "RSS MiB",
]  # fmt: skip
CHART = "benchmark-path.svg"
MARK = {True: "reached", False: "**missed**", None: "not told"}


class Results(Struct, frozen=True):
    """Everything that was measured; also the JSON report."""

    command: str
    machine: str
    seconds: float
    received: list[Received]
    path: Found
    outage: Outage | None
    edge: dict[str, float] | None
    targets: list[Target]


def machine() -> str:
    """Return what this ran on."""
    names = ("numpy", "numba", "msgspec", "paho-mqtt", "aiomqtt", "uvloop")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"Measured on: {report._cpu()}, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}), load average {os.getloadavg()[0]:.1f} at the end; "
        f"Python {platform.python_version()}, {versions}."
    )


def full_name(phase: Phase) -> str:
    """Return how a row of the full path is called."""
    wide = "" if phase.values == 10 else f", {phase.values} values"
    limited = ", as fast as one device may" if phase.rate else ""
    return f"**Farfix**, {phase.store}{wide}{limited}"


def _table(received: list[Received], path: Found) -> Table:
    rows = []
    for r in received:
        title = f"{r.name} {r.version}".strip()
        title = "bare socket, drained" if r.name == "floor" else f"{title}, receives only"
        paho = paho_us(received, r.qos)
        rows.append([
            title, str(r.qos), "100", number(r.cpu_us, 2), _times(r.cpu_us, paho),
            number(r.cpu_us / 10, 2), number(r.messages_per_s), "-", "-", number(r.rss_mib),
        ])  # fmt: skip
    for case in path.cases:
        rows.append(_full(case.flat_out, case.half_load, paho_us(received, case.flat_out.qos)))
    return Table(HEAD, rows)


def _times(cpu_us: float, paho: float | None) -> str:
    return "-" if paho is None else f"{cpu_us / paho:.2f}"


def _full(flat: Phase, half: Phase, paho: float | None) -> Row:
    start = [full_name(flat), str(flat.qos), f"{flat.devices:,}"]
    if flat.invalid:
        return [*start, "invalid", *["-"] * 6]
    calm = not half.invalid
    return [
        *start,
        number(flat.cpu_us, 2),
        _times(flat.cpu_us, paho) if flat.values == 10 else "-",
        number(flat.cpu_us / flat.values, 3),
        number(flat.messages_per_s),
        number(half.p50_ms if calm else None, 0),
        number(half.p99_ms if calm else None, 0),
        number(flat.rss_mib),
    ]


def _split(path: Found) -> Table:
    head = [
        "", "QoS", "devices", "bytes/message", "main us", "workers us", "database us",
        "load generator us", "half load: us/message", "spread %", "cases",
    ]  # fmt: skip
    rows = []
    for case in path.cases:
        p, half = case.flat_out, case.half_load
        if p.invalid:
            continue
        spread = 100 * (max(p.spread) - min(p.spread)) / p.cpu_us if p.spread else 0.0
        rows.append([
            full_name(p), str(p.qos), f"{p.devices:,}", number(p.message_bytes),
            number(p.main_cpu_us, 2), number(p.cpu_us - p.main_cpu_us, 2),
            number(p.store_cpu_us, 2), number(p.generator_cpu_us, 2),
            number(None if half.invalid else half.cpu_us, 2), number(spread), str(p.cases),
        ])  # fmt: skip
    return Table(head, rows)


def _stored(path: Found) -> Table:
    rows = [
        [f"{s.store}, {s.devices:,} x {s.machine_type}"]
        + [f"{number:,}" for number in (s.sent, s.rows, s.scored, s.sent - s.rows)]
        + [f"{100 * s.idle_share:.1f}"]
        for s in path.stored
    ]
    return Table(
        ["", "sent", "rows in the store", "scored", "lost", "gateway idle: % of a core"], rows
    )


def _outage(outage: Outage) -> str:
    how = (
        "in real time"
        if outage.speed == 1
        else f"{outage.speed:.0f} times as fast as it would come ({outage.speed * 10_000:,.0f} "
        "values/s; detection during the outage is measured at that rate)"
    )
    return (
        f"InfluxDB gets SIGKILL while {outage.devices:,} machines send 10,000 values/s at QoS 1; "
        f"{outage.seconds:,.0f} s of data come in without it, {how}; then it is started again and "
        f"the load goes on at 10,000 values/s. {outage.rows_waiting:,} rows waited in "
        f"{outage.journal_mib:,.0f} MiB of journal; less than a second of them was left after "
        f"{outage.caught_up_s:.1f} s. Sent {outage.sent:,}, in the database {outage.stored:,}: "
        f"**{outage.lost:,} lost**. p99 from publishing to the score: {outage.before_p99_ms:.0f} "
        f"ms before, {outage.during_p99_ms:.0f} ms during, {outage.after_p99_ms:.0f} ms while "
        f"catching up and after. {outage.invalid}\n"
    )


def markdown(r: Results) -> str:
    """Return the whole page."""
    parts = [
        "# Benchmarks of the telemetry path\n",
        f"Written by `{r.command}`, which took {r.seconds:,.0f} s; run it again to get it anew.\n",
        r.machine + "\n",
        INTRO,
        f"![CPU microseconds per message](images/{CHART})\n",
        "## Targets\n",
        report._table(
            Table(
                ["figure", "target", "found", ""],
                [[t.figure, t.wanted, t.found, MARK[t.reached]] for t in r.targets],
            )
        ),
        "## What a message costs\n",
        report._table(_table(r.received, r.path)),
        "## Where it goes\n",
        report._table(_split(r.path)),
        "## What the stores hold in the end\n",
        report._table(_stored(r.path)),
    ]
    if r.outage:
        parts += ["## When the database dies\n", _outage(r.outage)]
    if r.edge:
        told = ", ".join(f"{name} {value:,g}" for name, value in r.edge.items())
        parts += ["## Edge agent\n", f"The real process, by `tests/bench/edge_cost.py`: {told}.\n"]
    invalid = [
        f"- {full_name(p)}, {p.devices:,} devices, QoS {p.qos}: {p.invalid}\n"
        for case in r.path.cases
        for p in (case.flat_out, case.half_load)
        if p.invalid
    ]
    invalid += [f"- {text}\n" for text in r.path.missing]
    if invalid:
        parts += ["## No figures\n", "".join(invalid)]
    return "\n".join(parts)


INTRO = """\
A message is one PUBLISH of one instant of one machine, exactly as an edge agent sends it: JSON,
10 values with their names, boot and sequence. Everybody gets the same messages from the same kind
of broker (Mosquitto as the gateway configures it). *Receives only* touches topic and payload and
does nothing. **Farfix** is the real gateway: it validates, drops repetitions, commits to its
journal, acknowledges to broker and sender, scores by the machine's own commissioned detector and
stores values with scores. Its CPU is that of all its processes until the last message was stored;
databases, broker and load generator are told apart. Medians of the repetitions; a repetition in
which a single message was lost, repeated, throttled, quarantined or not scored counts as none.
Latencies are from publishing to the score, at half of the messages/s of the same row.
"""


def draw(received: list[Received], path: Found, folder: Path) -> Path:
    """Draw CPU per message of everybody; return the file."""
    bars = [
        ("bare socket" if r.name == "floor" else f"{r.name}, receives only, QoS {r.qos}", r.cpu_us)
        for r in received
    ]
    bars += [
        (f"Farfix, all of it, {p.store}, {p.devices:,} devices, QoS {p.qos}", p.cpu_us)
        for p in (case.flat_out for case in path.cases)
        if not p.invalid and p.values == 10 and not p.rate
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return path_chart.costs(bars, folder / CHART)
