"""Measured phases on a running gateway. A phase in which anything got lost has no figure."""

import math
import statistics
import time

from msgspec import Struct, structs

from contract.errors import Unreachable
from tests.bench import path_machines, path_process
from tests.bench.path_gateway import COMMISSIONING_SAMPLES, LOSSES, Rig, Seen
from tests.bench.path_load import Done, Order
from tests.bench.report import say

SPARE_SAMPLES = 6
DECLARED_S, DECLARED_SAMPLES = 6.0, 200
"""How long and how often machines with drivers or modes send before they are judged: what comes in
bursts counts as less."""
STORED_S = 120.0
POLL_S = 0.05
HELD_RATE = 0.97
"""A paced load that reached less of its rate was none."""
WHOLE = ("batches_accepted", "readings_scored", "series_rows_written")
"""What every message must do once."""
UNWELL_MAX = 0.03
"""So many machines may stand in a false alarm while figures are taken: it is a few of the small
fleets here, commissioned in seconds, and an alarm costs less than another reading."""


class Phase(Struct, frozen=True):
    """One load and what it took; the median of several where ``phases`` says so."""

    store: str
    machine_type: str
    devices: int
    qos: int
    rate: float
    """Messages a second asked for; 0: as fast as they come through."""
    messages: int
    values: int
    """In each message."""
    message_bytes: float
    cpu_us: float
    """Of all the gateway's processes, per message, until the last one was stored."""
    main_cpu_us: float
    messages_per_s: float
    """From the first one sent until the last one was stored."""
    p50_ms: float
    p99_ms: float
    """From publishing to the score."""
    rss_mib: float
    generator_cpu_us: float
    store_cpu_us: float
    healthy: int
    cases: int
    invalid: str = ""
    """Why this is no figure."""
    spread: list[float] = []
    """CPU per message of every repetition."""


def commission(rig: Rig) -> None:
    """Let every machine learn its healthy running.

    Raises:
        Unreachable: some did not come to be judged.
    """
    say(f"  commissioning {rig.devices:,} machines of type {rig.machine_type}")
    before = rig.seen()
    count, rate = rig.devices * (COMMISSIONING_SAMPLES + SPARE_SAMPLES), 0.0
    if path_machines.declared(path_machines.machine(rig.machine_type)):
        count = rig.devices * DECLARED_SAMPLES
        rate = count / DECLARED_S
    done = rig.generator.run(Order(count, 0, rate))
    if done.through != count:
        raise Unreachable(f"only {done.through} of {count} messages of commissioning came through")
    rig.until(lambda: _stored(rig, before, count), "all is stored", STORED_S)
    rig.until(
        lambda: rig.seen().states.get("healthy", 0.0) >= (1 - UNWELL_MAX) * rig.devices,
        f"machines are healthy: {rig.seen().states}",
        STORED_S,
    )


def _stored(rig: Rig, before: Seen, count: int) -> bool:
    return rig.seen().since(before, "series_rows_written") >= count


def idle_share(rig: Rig, seconds: float) -> float:
    """Return the share of a core that the gateway takes while nothing comes in."""
    before, start = rig.cost(), time.perf_counter()
    time.sleep(seconds)
    return rig.cost().since(before) / (time.perf_counter() - start)


def measure(rig: Rig, values: int, order: Order, *, keep_rate: bool = False) -> Phase:
    """Put one load on the gateway; one that is to keep its rate and does not is invalid."""
    before, cost, store_cost = rig.seen(), rig.cost(), _store_cpu_s(rig)
    start = time.perf_counter()
    done = rig.generator.run(order)
    after = rig.seen()
    while not _over(before, after, done.sent) and time.perf_counter() - start < STORED_S:
        time.sleep(POLL_S)
        after = rig.seen()
    seconds = time.perf_counter() - start
    spent = rig.cost()
    main = rig.pids()[0]
    each = 1e6 / max(done.sent, 1)
    return Phase(
        store=rig.store.name,
        machine_type=rig.machine_type,
        devices=rig.devices,
        qos=order.qos,
        rate=order.rate,
        messages=done.sent,
        values=values,
        message_bytes=done.bytes_sent / max(done.sent, 1),
        cpu_us=spent.since(cost) * each,
        main_cpu_us=(spent.cpu_s[main] - cost.cpu_s[main]) * each,
        messages_per_s=done.sent / seconds,
        p50_ms=1000 * after.delay_s(before, 0.5),
        p99_ms=1000 * after.delay_s(before, 0.99),
        rss_mib=spent.rss_mib,
        generator_cpu_us=done.cpu_s * each,
        store_cpu_us=(_store_cpu_s(rig) - store_cost) * each,
        healthy=int(after.states.get("healthy", 0.0)),
        cases=after.since(before, "cases_opened"),
        invalid=problem(rig.devices, order.rate if keep_rate else 0.0, done, (before, after)),
    )


def _store_cpu_s(rig: Rig) -> float:
    return sum(path_process.cpu_s(pid) for pid in rig.store.pids())


def _over(before: Seen, after: Seen, sent: int) -> bool:
    return all(after.since(before, name) >= sent for name in WHOLE)


def problem(devices: int, rate: float, done: Done, looks: tuple[Seen, Seen]) -> str:
    """Say why a load gives no figure; empty if it does.

    Args:
        devices: how many machines there are.
        rate: messages a second that must have been kept, 0 if none.
        done: what the load generator says.
        looks: what the gateway had counted before and after.
    """
    before, after = looks
    found = []
    if done.through != done.sent:
        found.append(f"{done.sent - done.through} of {done.sent} messages not acknowledged")
    for name in WHOLE:
        if after.since(before, name) != done.sent:
            found.append(f"{name} {after.since(before, name)} of {done.sent}")
    found += [f"{name} {after.since(before, name)}" for name in LOSSES if after.since(before, name)]
    if done.sent < HELD_RATE * rate * done.seconds:
        found.append(f"{done.sent / done.seconds:.0f} of {rate:.0f} messages/s kept")
    if after.states.get("healthy", 0.0) < (1 - UNWELL_MAX) * devices:
        found.append(f"machines were {after.states}")
    return "; ".join(found)


def repeated(rig: Rig, values: int, order: Order, phases: int, *, keep_rate: bool = False) -> Phase:
    """Warm up, measure several times, and return the median of those that are valid."""
    measure(rig, values, structs.replace(order, count=max(order.count // 5, 1)))
    found = [measure(rig, values, order, keep_rate=keep_rate) for _ in range(phases)]
    valid = [phase for phase in found if not phase.invalid]
    if not valid:
        return found[-1]

    def middle(name: str) -> float:
        return float(statistics.median(getattr(phase, name) for phase in valid))

    names = [
        name for name, kind in Phase.__annotations__.items()
        if kind is float and name != "rate" and not math.isnan(getattr(valid[0], name))
    ]  # fmt: skip
    return structs.replace(
        valid[0],
        **{name: middle(name) for name in names},
        cases=sum(phase.cases for phase in found),
        invalid="" if len(valid) == phases else f"{phases - len(valid)} of {phases} repetitions",
        spread=[phase.cpu_us for phase in found],
    )
