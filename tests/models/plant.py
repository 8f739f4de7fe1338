"""A small made-up machine for tests: day cycle, two modes, heat that lags, coloured noise."""

from collections.abc import Iterator

import numpy as np

from contract.faults import Direction, Severity
from contract.machines import (
    CheckKind,
    FaultSpec,
    MachineType,
    Role,
    SensorCheck,
    Signal,
    Symptom,
)
from contract.telemetry import Reading

START_NS = 1_800_000_000_000_000_000
STEP_S = 5.0
NOISE = {"flow": 0.7, "pressure": 0.04, "power": 0.3, "metal": 0.3, "vibration": 0.05}


def machine() -> MachineType:
    def signal(name: str, unit: str, low: float, high: float, role: Role = Role.RESPONSE) -> Signal:
        return Signal(name=name, title=name.capitalize(), unit=unit, range=(low, high), role=role)

    def fault(code: str, *symptoms: tuple[str, Direction]) -> FaultSpec:
        listed = [Symptom(signal=s, direction=d) for s, d in symptoms]
        return FaultSpec(code=code, title=code, severity=Severity.MEDIUM, symptoms=listed)

    above, below = Direction.ABOVE, Direction.BELOW
    return MachineType(
        name="toy",
        title="Toy machine",
        poll_interval_s=STEP_S,
        signals=[
            signal("load", "%", 0, 100, Role.DRIVER),
            signal("ambient", "degC", -20, 50, Role.DRIVER),
            Signal(
                name="mode", title="Mode", unit="", range=(0, 5), role=Role.MODE,
                modes={"0": "off", "1": "starting", "2": "run", "3": "eco"}, judged_modes=[2, 3],
            ),
            signal("flow", "m3/h", 0, 200),
            signal("pressure", "bar", 0, 12),
            signal("power", "kW", 0, 100),
            signal("metal", "degC", -20, 150),
            signal("vibration", "mm/s", 0, 40),
        ],
        faults=[
            fault("wear", ("vibration", above), ("metal", above)),
            fault("blocked", ("flow", below), ("pressure", above)),
            fault("leak", ("flow", above), ("pressure", below)),
            FaultSpec(
                code="flow_stuck", title="flow_stuck", severity=Severity.LOW,
                check=SensorCheck(kind=CheckKind.STUCK, signal="flow"),
            ),
        ],
    )  # fmt: skip


def coloured(rng: np.random.Generator, n: int, samples: float) -> np.ndarray:
    """Unit-variance noise that remembers about so many samples."""
    a = np.exp(-1 / samples)
    white = rng.normal(size=n) * np.sqrt(1 - a * a)
    out = np.empty(n)
    state = rng.normal()
    for i in range(n):
        state = a * state + white[i]
        out[i] = state
    return out


def readings(
    hours: float, seed: int = 1, *, stops: tuple[tuple[float, float], ...] = (),
    steps: tuple[tuple[float, float], ...] = (), eco: tuple[tuple[float, float], ...] = (),
    faults: tuple[tuple[str, float, float, float], ...] = (),
) -> Iterator[Reading]:  # fmt: skip
    """Yield readings.

    Args:
        hours: how long.
        seed: of the noise.
        stops: from and to (hours) switched off.
        steps: (hour, change of load in percent) that last.
        eco: from and to (hours) in eco mode.
        faults: (signal, from, to (hours), size in the signal's noise).
    """
    rng = np.random.default_rng(seed)
    n = int(hours * 3600 / STEP_S)
    t = np.arange(n) * STEP_S / 3600
    load = 55 + 12 * np.sin(2 * np.pi * (t - 7) / 24) + 6 * coloured(rng, n, 60)
    load = load + sum((change * (t >= at) for at, change in steps), np.zeros(n))
    ambient = 15 + 6 * np.sin(2 * np.pi * (t - 9) / 24) + 0.05 * rng.normal(size=n)
    mode = np.where((t * 60) % 24 < 14, 2, 3)
    for a, b in eco:
        mode[(t >= a) & (t < b)] = 3
    for a, b in stops:
        mode[(t >= a) & (t < b)] = 0
        mode[(t >= b) & (t < b + 30 / 3600)] = 1
    speed = np.choose(mode, [0.0, 0.4, 1.0, 0.8])
    flow = speed * (30 + 0.9 * load)
    pressure = speed**2 * (8 - 0.02 * load)
    power = speed**3 * (10 + 0.3 * load + 0.001 * load**2) + 1
    metal = np.empty(n)
    heat = ambient[0] + 1.2 * power[0]
    for i in range(n):
        heat += STEP_S / 600 * (ambient[i] + 1.2 * power[i] - heat)
        metal[i] = heat
    clean = {"flow": flow, "pressure": pressure, "power": power, "metal": metal,
             "vibration": 1 + 2 * speed}  # fmt: skip
    values = {"load": load, "ambient": ambient, "mode": mode}
    for name, healthy in clean.items():
        noise = 0.9 * rng.normal(size=n) + 0.45 * coloured(rng, n, 8)
        values[name] = healthy + NOISE[name] * noise
    for name, a, b, size in faults:
        values[name] = values[name] + size * NOISE[name] * ((t >= a) & (t < b))
    for i in range(n):
        row: dict[str, float | None] = {name: float(column[i]) for name, column in values.items()}
        yield Reading(START_NS + int(i * STEP_S * 1e9), row, {})
