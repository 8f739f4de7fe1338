"""The whole path, over stores and sizes of fleets, and what a device costs."""

import math

from msgspec import Struct

from contract.errors import FarfixError
from tests.bench import path_gateway, path_machines, path_phases
from tests.bench.path_gateway import Rig
from tests.bench.path_load import Order
from tests.bench.path_phases import Phase
from tests.bench.path_stores import Embedded, Influx, Victoria
from tests.bench.report import say

TYPE, WIDE_TYPE = "ten_signals", "centrifugal_pump"
RIGS = (
    (Embedded.name, 10_000), (Embedded.name, 100), (Embedded.name, 1), (Influx.name, 100),
    (Victoria.name, 100),
)  # fmt: skip
"""Stores and machines, the largest fleet first: half of what it reaches is the load by which fleets
are compared. It is commissioned once only, since that takes longer than all that is measured."""
FLAT_FLEETS = (100, 10_000)
WIDE_DEVICES = 100
PHASES = 2


class Scale(Struct, frozen=True):
    """How much is measured."""

    messages: int
    seconds: float
    """Of a phase at half load; of one that the gateway limits."""
    rigs: tuple[tuple[str, int], ...]
    phases: int = PHASES


FULL = Scale(100_000, 3.0, RIGS)
QUICK = Scale(3_000, 1.0, ((Embedded.name, 100),), phases=1)


class Case(Struct, frozen=True):
    """One gateway with one store and one fleet, at one QoS."""

    flat_out: Phase
    half_load: Phase


class Stored(Struct, frozen=True):
    """What a gateway's store holds in the end, counted there."""

    store: str
    machine_type: str
    devices: int
    sent: int
    rows: int
    scored: int
    """Of these, such that say whether the machine stood in alarm."""
    idle_share: float
    """Of a core, what the gateway needs when nothing comes in."""


class Found(Struct, frozen=True):
    """All that was measured."""

    cases: list[Case]
    stored: list[Stored]
    even: list[Phase]
    """The same load on fleets of different sizes."""
    missing: list[str]
    """What could not be measured, and why."""


def measure(scale: Scale) -> Found:
    """Measure every store with every fleet, and the wide machine type."""
    found = Found([], [], [], [])
    even_rate = 0.0
    for store, devices in scale.rigs:
        even_rate = _try(found, scale, (store, TYPE, devices), even_rate)
    _try(found, scale, (Embedded.name, WIDE_TYPE, WIDE_DEVICES), 0.0)
    return found


def _try(found: Found, scale: Scale, what: tuple[str, str, int], even_rate: float) -> float:
    store, machine_type, devices = what
    name = f"{store}, {devices:,} x {machine_type}"
    say(f"full path: {name}")
    try:
        with path_gateway.rig(store, machine_type, devices) as rig:
            return _one(found, scale, rig, even_rate)
    except FarfixError as error:
        say(f"  not measured: {error}")
        found.missing.append(f"{name}: {_short(error)}")
        return even_rate


def _one(found: Found, scale: Scale, rig: Rig, even_rate: float) -> float:
    values = len(path_machines.machine(rig.machine_type).signals)
    path_phases.commission(rig)
    idle_share = path_phases.idle_share(rig, scale.seconds)
    limit = path_gateway.most_per_s(rig.devices)
    for qos in (0, 1):
        count = int(min(scale.messages, limit * scale.seconds))
        rate = limit if math.isfinite(limit) else 0.0
        flat_out = path_phases.repeated(rig, values, Order(count, qos, rate), scale.phases)
        half = flat_out.messages_per_s / 2
        order = Order(max(int(half * scale.seconds), 1), qos, half)
        found.cases.append(Case(flat_out, path_phases.measure(rig, values, order, keep_rate=True)))
        say(f"  QoS {qos}: {_told(flat_out)}")
    if rig.store.name == Embedded.name and rig.machine_type == TYPE:
        even_rate = even_rate or min(half, path_gateway.most_per_s(FLAT_FLEETS[0]))
        if rig.devices in FLAT_FLEETS:
            order = Order(int(even_rate * scale.seconds), 1, even_rate)
            found.even.append(
                path_phases.repeated(rig, values, order, scale.phases, keep_rate=True)
            )
    sent = rig.generator.run(Order(0, 0)).total
    rows, scored = (rig.store.rows(rig.machine_type, field) for field in ("quality", "alarm"))
    kept = (sent, rows, scored, idle_share)
    found.stored.append(Stored(rig.store.name, rig.machine_type, rig.devices, *kept))
    return even_rate


def _short(error: FarfixError) -> str:
    """Return the beginning of what happened, and a program's last word about it."""
    lines = str(error).splitlines()
    return lines[0][:200] + (f" ... {lines[-1][:200]}" if len(lines) > 1 else "")


def _told(phase: Phase) -> str:
    if phase.invalid:
        return f"no figure: {phase.invalid}"
    return f"{phase.cpu_us:.1f} us a message, {phase.messages_per_s:,.0f} messages/s"
