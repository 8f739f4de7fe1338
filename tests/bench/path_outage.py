"""The database dies while telemetry comes in: is anything lost, does detection go on, how long to
catch up?

The load is 10,000 values a second. An outage longer than a minute is produced faster: everything
that would have come in goes to the gateway within about `FAST_S`, at most `FAST_RATE` messages a
second, while the database is down; what detection does meanwhile is measured at that rate. Catching
up is measured at the ordinary rate again.
"""

import time

from msgspec import Struct

from contract.errors import Unreachable
from tests.bench import path_gateway, path_phases
from tests.bench.path_gateway import LOSSES, Rig, Seen
from tests.bench.path_load import Order
from tests.bench.path_stores import Influx
from tests.bench.report import say

MACHINE_TYPE = "ten_signals"
RATE = 1000.0
"""Messages of 10 values a second."""
ORDINARY_S = 60.0
FAST_S = 180.0
FAST_RATE = 20_000.0
CATCH_UP_MAX_S = 900.0
BLOCK_S = 5.0
POLL_S = 0.25


class Drill(Struct, frozen=True):
    """What is to happen."""

    seconds: float
    """Without database, in terms of the data that comes meanwhile."""
    devices: int = 1000
    quiet_s: float = 10.0
    """Before the outage, and after it is over."""


class Outage(Struct, frozen=True):
    """What happened."""

    seconds: float
    """As long as the database was away, in terms of the data that came meanwhile."""
    devices: int
    speed: float
    """How many times faster than that it came."""
    rows_waiting: int
    """When the database came back."""
    journal_mib: float
    before_p99_ms: float
    during_p99_ms: float
    after_p99_ms: float
    caught_up_s: float
    sent: int
    stored: int
    lost: int
    rss_mib: float
    invalid: str = ""


def drill(plan: Drill) -> Outage:
    """Kill the database, let telemetry come in, start it again, wait and count."""
    seconds = plan.seconds
    speed = 1.0 if seconds <= ORDINARY_S else min(seconds / FAST_S, FAST_RATE / RATE)
    speed = max(speed, 1.0)
    with path_gateway.rig(Influx.name, MACHINE_TYPE, plan.devices) as rig:
        path_phases.commission(rig)
        begun = rig.seen()
        rig.generator.run(_order(plan.quiet_s))
        before = rig.seen()
        say(f"  the database is killed for {seconds:g} s of data, {speed:.0f} x as fast")
        rig.store.kill()
        rig.generator.run(_order(seconds / speed, RATE * speed))
        during = rig.seen()
        waiting, held_mib = _waiting(during), during.counts.get("journal_bytes", 0.0) / 2**20
        rig.store.start()
        caught_up_s, total = _catch_up(rig, plan.quiet_s)
        after = rig.seen()
        stored = rig.store.rows(MACHINE_TYPE, "quality")
        return Outage(
            seconds=seconds,
            devices=plan.devices,
            speed=speed,
            rows_waiting=waiting,
            journal_mib=held_mib,
            before_p99_ms=1000 * before.delay_s(begun, 0.99),
            during_p99_ms=1000 * during.delay_s(before, 0.99),
            after_p99_ms=1000 * after.delay_s(during, 0.99),
            caught_up_s=caught_up_s,
            sent=total,
            stored=stored,
            lost=total - stored,
            rss_mib=rig.cost().rss_mib,
            invalid=_problem(begun, after, waiting),
        )


def _order(seconds: float, rate: float = RATE) -> Order:
    return Order(round(seconds * rate), 1, rate=rate, window=8_000)


def _waiting(seen: Seen) -> int:
    counts = seen.counts
    done = counts["series_rows_written"] + counts["series_rows_rejected"]
    return int(counts["batches_accepted"] - done)


def _catch_up(rig: Rig, quiet_s: float) -> tuple[float, int]:
    """Go on sending; return when less than a second's rows waited, and all that was ever sent."""
    start, caught_up_s = time.monotonic(), float("nan")
    while caught_up_s != caught_up_s:  # noqa: PLR0124 - not a number yet
        if time.monotonic() - start > CATCH_UP_MAX_S:
            raise Unreachable(f"the gateway did not catch up within {CATCH_UP_MAX_S:g} s")
        rig.generator.begin(_order(BLOCK_S))
        block_end = time.monotonic() + BLOCK_S
        while time.monotonic() < block_end and caught_up_s != caught_up_s:  # noqa: PLR0124
            if _waiting(rig.seen()) <= RATE:
                caught_up_s = time.monotonic() - start
            time.sleep(POLL_S)
        rig.generator.done()
    total = rig.generator.run(_order(quiet_s)).total
    rig.until(lambda: _waiting(rig.seen()) <= 0, "all rows are written", path_phases.STORED_S)
    return caught_up_s, total


def _problem(begun: Seen, after: Seen, waiting: int) -> str:
    found = [f"{name} {after.since(begun, name)}" for name in LOSSES if after.since(begun, name)]
    if not waiting:
        found.append("nothing waited: the outage was none")
    return "; ".join(found)
