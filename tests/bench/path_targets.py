"""The targets that the path is held to, each against what this run has found."""

from typing import NamedTuple

from tests.bench.path_full import FLAT_FLEETS, TYPE, Case, Found
from tests.bench.path_outage import Outage
from tests.bench.path_receivers import Received
from tests.bench.path_stores import Embedded

PAHO_SHARE = {0: 0.6, 1: 0.5}
VALUES_PER_S = 500_000.0
FLAT_SHARE = 0.2
P99_MS = 100.0
CATCH_UP_S = 300.0
EDGE_RSS_MIB, EDGE_SHARE = 60.0, 0.10


class Target(NamedTuple):
    """One target."""

    figure: str
    wanted: str
    found: str
    reached: bool | None
    """None: this run does not tell."""


def judge(
    received: list[Received], path: Found, outage: Outage | None, edge: dict[str, float] | None
) -> list[Target]:
    """Return every target of the path."""
    return [
        *(_paho(received, path, qos) for qos in (0, 1)),
        _throughput(path),
        _flat(path),
        _latency(path),
        _outage(outage),
        _edge(edge),
    ]


def paho_us(received: list[Received], qos: int) -> float | None:
    """Return what paho needs only to receive, measured in this run."""
    return next((r.cpu_us for r in received if (r.name, r.qos) == ("paho-mqtt", qos)), None)


def of_ten(path: Found, store: str = "") -> list[Case]:
    """Return the valid cases with messages of ten values, of one store or of all."""
    return [
        case
        for case in path.cases
        if case.flat_out.machine_type == TYPE
        and case.flat_out.store == (store or case.flat_out.store)
        and not case.flat_out.invalid
    ]


def _paho(received: list[Received], path: Found, qos: int) -> Target:
    wanted = f"<= {PAHO_SHARE[qos]:g} x"
    figure = f"full path, embedded store, QoS {qos}: CPU of paho's receiving alone"
    paho = paho_us(received, qos)
    ours = [
        case.flat_out
        for case in of_ten(path, Embedded.name)
        if case.flat_out.qos == qos and not case.flat_out.rate
    ]
    if not ours or paho is None:
        return Target(figure, wanted, "not measured", None)
    worst = max(phase.cpu_us / paho for phase in ours)
    told = ", ".join(f"{p.cpu_us / paho:.2f} x ({p.devices:,} devices)" for p in ours)
    return Target(figure, wanted, told, worst <= PAHO_SHARE[qos])


def _throughput(path: Found) -> Target:
    figure = "values/s received, scored and stored for one second of CPU of all processes"
    wanted = f">= {VALUES_PER_S:,.0f}"
    ours = [case.flat_out for case in of_ten(path, Embedded.name) if not case.flat_out.rate]
    if not ours:
        return Target(figure, wanted, "not measured", None)
    best = max(ours, key=lambda phase: phase.values / phase.cpu_us)
    rate = 1e6 * best.values / best.cpu_us
    wall = best.messages_per_s * best.values
    told = f"{rate:,.0f} ({best.devices:,} devices, QoS {best.qos}; {wall:,.0f}/s by the wall)"
    return Target(figure, wanted, told, rate >= VALUES_PER_S)


def _flat(path: Found) -> Target:
    figure = f"CPU per message, {FLAT_FLEETS[1]:,} devices beside {FLAT_FLEETS[0]}, equal rate"
    wanted = f"within {FLAT_SHARE:.0%}"
    by_size = {p.devices: p for p in path.even if not p.invalid}
    if set(by_size) != set(FLAT_FLEETS):
        return Target(figure, wanted, "not measured", None)
    few, many = (by_size[size] for size in FLAT_FLEETS)
    more = many.cpu_us / few.cpu_us - 1
    told = f"{more:+.0%} at {few.rate:,.0f} messages/s"
    return Target(figure, wanted, told, abs(more) <= FLAT_SHARE)


def _latency(path: Found) -> Target:
    figure = "p99 from publishing to the score at half load, worst of all stores and fleets"
    wanted = f"<= {P99_MS:g} ms"
    ours = [case.half_load for case in of_ten(path) if not case.half_load.invalid]
    if not ours:
        return Target(figure, wanted, "not measured", None)
    worst = max(ours, key=lambda phase: phase.p99_ms)
    told = f"{worst.p99_ms:.0f} ms ({worst.store}, {worst.devices:,} devices, QoS {worst.qos})"
    return Target(figure, wanted, told, worst.p99_ms <= P99_MS)


def _outage(outage: Outage | None) -> Target:
    figure = "one hour's outage of the database at 10,000 values/s"
    wanted = "0 lost, detection unaffected, caught up in <= 5 min"
    if outage is None or outage.invalid:
        return Target(figure, wanted, outage.invalid if outage else "not measured", None)
    told = (
        f"{outage.seconds:,.0f} s of data: {outage.lost} lost, p99 {outage.before_p99_ms:.0f} ms "
        f"before, {outage.during_p99_ms:.0f} ms during, {outage.after_p99_ms:.0f} ms after, "
        f"caught up in {outage.caught_up_s:.0f} s"
    )
    good = not outage.lost and outage.caught_up_s <= CATCH_UP_S
    good = good and max(outage.during_p99_ms, outage.after_p99_ms) <= P99_MS
    return Target(figure, wanted, told, good if outage.seconds >= 3600 or not good else None)


def _edge(edge: dict[str, float] | None) -> Target:
    wanted = f"RSS <= {EDGE_RSS_MIB:g} MiB, <= {EDGE_SHARE:.0%} of a core"
    if edge is None:
        return Target("edge agent", wanted, "not measured", None)
    figure = f"edge agent, {edge['devices']:.0f} devices x {edge['registers']:.0f} registers, 1 Hz"
    told = f"{edge['rss_mib']:.0f} MiB, {edge['cpu_share']:.1%} of a core"
    good = edge["rss_mib"] <= EDGE_RSS_MIB and edge["cpu_share"] <= EDGE_SHARE
    return Target(figure, wanted, told, good)
