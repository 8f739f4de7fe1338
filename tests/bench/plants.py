"""Four kinds of healthy machine at 1 Hz, from physics and process knowledge, without noise.

A kind's physics turns a `Plan` (what the operator, the weather and the demand do) and a random
generator (this machine's own gains, time constants and ranges) into the expected value of every
signal that such a machine could have, with the usual scatter of one reading around it. Temperatures
in degrees Celsius, pressures in bar, flows and positions in percent, power in kW, current in A,
vibration in mm/s.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Signals = dict[str, tuple[FloatArray, float]]
"""Expected value (n,) and the standard deviation of one reading around it."""


class Plan(NamedTuple):
    """What happens to a machine, second by second, apart from faults."""

    hour: FloatArray
    """Hours of the day, 0-24."""
    running: FloatArray
    """1 in operation, 0 when stopped."""
    setpoint: FloatArray
    """What the operator asks for, 0-1."""
    new_mode: FloatArray
    """1 in a mode that commissioning never saw."""
    ambient_k: FloatArray
    """Deviation of the surroundings from their usual temperature, with the day and the weather."""
    leak: FloatArray
    """Share of the output that is lost (faults that change the duty, not only the level)."""


class Kind(NamedTuple):
    """A kind of machine: its physics, and how its faults show."""

    physics: Callable[[Plan, Generator], tuple[Signals, FloatArray]]
    """Returns the signals and the load, 0-1, in proportion to which process faults show."""
    core: tuple[str, ...]
    """Signals that every machine of the kind has."""
    drivers: tuple[str, ...]
    """Causes and free wanderers: nothing foretells them, so no fault is put on them."""
    slow_s: dict[str, float]
    """Signals in which a fault arrives, and goes, with this lag."""
    signatures: dict[str, dict[str, float]]
    """Fault to signal to weight: sign and share of the leading signal's shift."""


@njit(cache=True)
def lag(x: FloatArray, tau_s: float, start: float) -> FloatArray:
    """Return the first-order lag of ``x`` (1 Hz) with this time constant, from ``start`` on."""
    out = np.empty_like(x)
    keep, state = np.exp(-1.0 / tau_s), start
    for i in range(x.size):
        state = keep * state + (1.0 - keep) * x[i]
        out[i] = state
    return out


def settled(x: FloatArray, tau_s: float) -> FloatArray:
    """Return the lag of ``x``, started where it would be if ``x`` had always begun this way."""
    result: FloatArray = lag(x, tau_s, float(x[: int(3 * tau_s) + 1].mean()))
    return result


def wander(rng: Generator, n: int, tau_s: float) -> FloatArray:
    """Return a stationary first-order autoregression of unit variance (Ornstein-Uhlenbeck)."""
    keep = np.exp(-1.0 / tau_s)
    # lag() multiplies by 1 - keep; a stationary variance of one needs sqrt(1 - keep^2)
    shocks = rng.standard_normal(n) * (np.sqrt(1 - keep * keep) / (1 - keep))
    result: FloatArray = lag(shocks, tau_s, float(rng.standard_normal()))
    return result


def pump(plan: Plan, rng: Generator) -> tuple[Signals, FloatArray]:
    """Return a variable-speed pump set: affinity laws, thermal lags, wandering suction."""
    u, n = rng.uniform, plan.hour.size
    speed = settled((0.35 + 0.65 * plan.setpoint) * plan.running, u(3, 12))
    # a new mode opens a second consumer: more flow at less head
    valve = (u(0.75, 0.95) + u(0, 0.2) * wander(rng, n, u(2000, 6000)).clip(-1, 1)) * (
        1 + 0.25 * plan.new_mode
    )
    level = 3 + 0.25 * wander(rng, n, u(4000, 15000)).clip(-3, 3)
    flow = 100 * speed * valve
    head = 4.0 * speed**2 * (1.3 - 0.35 * valve**2)
    suction = 0.1 * level + 0.6 - 0.1 * speed**2 * valve**2
    power = 30 * speed**3 * (0.4 + 0.6 * valve)
    air = 24 + u(0.3, 1) * plan.ambient_k
    winding = air + 45 * settled((power / 30) ** 1.2, u(700, 2400))
    resonance = u(0.2, 0.8) * np.exp(-(((speed - u(0.5, 0.8)) / 0.05) ** 2))
    vibration = plan.running * 0.4 + 2 * speed**2 + resonance
    signals = {
        "flow": (flow, 1.0),
        "discharge_pressure": (suction + head, 0.04),
        "power": (power, 0.35),
        "bearing_temperature": (air + 25 * settled(speed**1.5, u(250, 900)), 0.5),
        "vibration": (vibration, 0.09),
        "winding_temperature": (winding, 0.8),
        "suction_pressure": (suction, 0.015),
        "motor_current": (12 * plan.running + 0.9 * power / np.maximum(speed, 0.2), 0.5),
        "bearing_temperature_2": (air + 22 * settled(speed**1.5, u(250, 900)), 0.5),
        "vibration_axial": (0.6 * vibration + 0.2, 0.07),
        "filter_difference": (0.25 * (flow / 100) ** 2, 0.006),
        "speed_setpoint": (plan.setpoint * 65 + 35, 0.0),
        "speed": (100 * speed, 0.15),
        "tank_level": (level, 0.02),
        "ambient": (air, 0.3),
        "valve_position": (100 * valve, 0.3),
    }
    return signals, speed


PUMP = Kind(
    pump,
    ("flow", "discharge_pressure", "power", "bearing_temperature"),
    ("speed_setpoint", "speed", "tank_level", "ambient", "valve_position"),
    {"winding_temperature": 240, "bearing_temperature": 150, "bearing_temperature_2": 150},
    {
        "wear": {"flow": -1, "discharge_pressure": -0.9, "power": 0.6, "motor_current": 0.5},
        "recirculation": {"flow": -1, "discharge_pressure": -0.7, "power": 0.5},
        "blocked_filter": {
            "suction_pressure": -1, "filter_difference": 1, "flow": -0.9,
            "discharge_pressure": -0.6, "vibration": 0.4,
        },
        "bearing_wear": {"vibration": 1, "bearing_temperature": 0.9, "vibration_axial": 0.6},
        "fouled_cooling": {"winding_temperature": 1, "bearing_temperature": 0.8},
        "imbalance": {"vibration": 1, "vibration_axial": 0.7},
        "stuck_valve": {"flow": -1, "discharge_pressure": 1, "power": -0.6},
    },
)  # fmt: skip


def compressor(plan: Plan, rng: Generator) -> tuple[Signals, FloatArray]:
    """Return a fixed-speed compressor that loads and unloads between two receiver pressures."""
    u, n = rng.uniform, plan.hour.size
    shift = np.exp(-(((plan.hour - u(10, 15)) / u(3, 6)) ** 2))
    demand = 0.2 + 0.4 * plan.setpoint + u(0, 0.2) * shift
    demand = (demand + 0.05 * wander(rng, n, u(900, 3000)) + plan.leak).clip(0.12, 0.9)
    # filling takes 1 / (1 - demand), emptying 1 / demand of the receiver's own time
    cycle_s = 10 ** u(0.7, 1.8) * (1 / demand + 1 / (1 - demand))
    phase = np.cumsum(plan.running / cycle_s) % 1.0
    loaded = ((phase < demand) & (plan.running > 0)).astype(np.float64)
    saw = np.where(loaded > 0, phase / demand, (1 - phase) / (1 - demand)) - 0.5
    receiver = 6.8 + 0.9 * plan.new_mode + u(0.3, 0.6) * saw  # a new mode: higher pressure
    work = settled(loaded, u(1, 3)) * (1 + 0.1 * (receiver - 6.8))
    on = settled(plan.running, 5.0)
    air = 22 + u(0.4, 1) * plan.ambient_k
    element = settled(loaded * (1 + 0.08 * (receiver - 6.8)), u(40, 150))
    oil = settled(0.35 * plan.running + 0.65 * loaded, u(300, 900))
    winding = settled((0.3 * on + 0.7 * work) ** 2, u(900, 2400))
    signals = {
        "receiver_pressure": (receiver, 0.04),
        "motor_current": (28 * on + 62 * work, 1.2),
        "discharge_temperature": (air + 30 * on + 42 * element, 0.8),
        "vibration": (0.8 * on + 1.4 * work, 0.12),
        "oil_temperature": (air + 38 * oil, 0.6),
        "outlet_flow": (100 * demand * on, 1.2),
        "intake_pressure": (-0.03 * on - 0.05 * work, 0.003),
        "interstage_pressure": (0.4 * on + 1.9 * work, 0.06),
        "winding_temperature": (air + 50 * winding, 0.7),
        "outlet_temperature": (air + 6 * on + 5 * element, 0.4),
        "oil_pressure": (2.2 * on + 0.5 * work - 0.3 * oil * on, 0.05),
        "load_command": (loaded, 0.0),
        "ambient": (air, 0.3),
        "demand_signal": (100 * demand, 1.0),
    }
    return signals, 0.5 * on + 0.5 * work.clip(0, 1)


COMPRESSOR = Kind(
    compressor,
    ("receiver_pressure", "motor_current", "discharge_temperature", "vibration"),
    ("load_command", "ambient", "demand_signal", "outlet_flow"),
    {"discharge_temperature": 60, "oil_temperature": 180, "winding_temperature": 240,
     "outlet_temperature": 60},
    {
        "valve_leak": {"discharge_temperature": 1, "interstage_pressure": 0.9, "outlet_flow": -0.8},
        "leak": {"receiver_pressure": -1, "outlet_flow": 0.9, "motor_current": 0.3},
        "fouled_cooling": {
            "oil_temperature": 1, "outlet_temperature": 1, "discharge_temperature": 0.7,
        },
        "blocked_filter": {"intake_pressure": -1, "motor_current": 0.8, "outlet_flow": -0.8},
        "bearing_wear": {"vibration": 1, "oil_temperature": 0.8, "winding_temperature": 0.4},
        "imbalance": {"vibration": 1},
        "wear": {"motor_current": 1, "discharge_temperature": 0.8, "outlet_flow": -0.6},
    },
)  # fmt: skip


@njit(cache=True)
def staged(load: FloatArray, stages: int, hysteresis: float) -> FloatArray:
    """Return how many of the compressors run: one more or less when the load leaves the band."""
    out = np.empty_like(load)
    on = min(np.floor(load[0] * stages) + 1.0, float(stages)) if load[0] > 0 else 0.0
    for i in range(load.size):
        need = load[i] * stages
        if need > on + hysteresis and on < stages:
            on += 1.0
        elif on > 0 and need < on - 1.0 - hysteresis:
            on -= 1.0
        if load[i] <= 0:
            on = 0.0
        out[i] = on
    return out


def chiller(plan: Plan, rng: Generator) -> tuple[Signals, FloatArray]:
    """Return an air-cooled chiller: the day's load, staged compressors, slow temperatures."""
    u, n = rng.uniform, plan.hour.size
    people = np.exp(-(np.abs((plan.hour - u(12, 15)) / u(3.5, 5)) ** 4))
    need = 0.3 + u(0.15, 0.35) * people + 0.02 * plan.ambient_k + 0.03 * wander(rng, n, 2400)
    need = lag(need, 300.0, float(need[0])).clip(0.1, 0.95) * plan.running
    stages = staged(need, int(rng.integers(2, 5)), 0.12)
    on = settled(plan.running, 20.0)
    load = settled(need, u(120, 300))
    most = stages.max()
    # a new mode makes ice: colder water; staging leaves a ripple in it
    goal = 6 + 3 * plan.setpoint - 4 * plan.new_mode
    supply = settled(goal * on + 16 * (1 - on) + 0.6 * (need - stages / most) * on, u(60, 180))
    flow = (70 + 30 * plan.setpoint) * on
    back = supply + settled(6 * load * 100 / np.maximum(flow, 30), u(60, 200))
    air = 20 + 1.5 * plan.ambient_k
    condensing = air + settled(on * (6 + 12 * load), u(150, 400))
    evaporating = supply - 2 * on - 4 * load
    lift = (condensing - evaporating) / 30
    power = 8 * stages * (0.5 + 0.5 * lift) * on
    discharge = settled(condensing + 18 * on + 14 * lift * on, u(200, 500))
    work = stages / most
    signals = {
        "supply_temperature": (supply, 0.15),
        "return_temperature": (back, 0.2),
        "condensing_pressure": (9.5 * np.exp(0.024 * (condensing - 35)), 0.12),
        "power": (settled(power, u(3, 15)), 0.6),
        "evaporating_pressure": (3.6 * np.exp(0.03 * evaporating), 0.05),
        "discharge_temperature": (discharge, 0.8),
        "superheat": (6 * on + u(-1, 1) * load, 0.4),
        "subcooling": (5 * on + u(-1, 1) * load, 0.35),
        "oil_temperature": (air + settled(on * 18 + 15 * work, u(600, 1500)), 0.7),
        "vibration": (0.3 * on + 1.1 * settled(work, 3.0), 0.08),
        "water_flow": (flow, 0.8),
        "motor_current": (14 * stages * (0.6 + 0.4 * lift) * on, 1.0),
        "expansion_valve": (100 * (0.15 + 0.8 * load) * on, 1.0),
        "stages": (stages, 0.0),
        "ambient": (air, 0.4),
        "supply_setpoint": (goal, 0.0),
    }
    return signals, on * (0.3 + 0.7 * load / max(float(load.max()), 0.1))


CHILLER = Kind(
    chiller,
    ("supply_temperature", "condensing_pressure", "power", "evaporating_pressure"),
    ("stages", "ambient", "supply_setpoint", "return_temperature", "water_flow"),
    {"supply_temperature": 120, "discharge_temperature": 150, "oil_temperature": 240,
     "condensing_pressure": 90, "subcooling": 60},
    {
        "refrigerant_loss": {
            "evaporating_pressure": -1, "superheat": 1, "subcooling": -1,
            "discharge_temperature": 0.6, "expansion_valve": 0.8,
        },
        "fouled_condenser": {"condensing_pressure": 1, "power": 0.7, "discharge_temperature": 0.6},
        "fouled_evaporator": {
            "evaporating_pressure": -1, "supply_temperature": 0.5, "expansion_valve": -0.5,
        },
        "wear": {"power": 1, "motor_current": 0.9, "discharge_temperature": 0.6},
        "stuck_valve": {"superheat": 1, "evaporating_pressure": -0.9, "supply_temperature": 0.5},
        "bearing_wear": {"vibration": 1, "oil_temperature": 0.8, "motor_current": 0.3},
        "imbalance": {"vibration": 1},
    },
)  # fmt: skip


def _recipes(plan: Plan, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Return the phase (0 fill, 1 heat, 2 hold, 3 cool and drain) and the recipe's set-point, 0-1.

    Phases last as long as this machine's recipes say; the clock stands while the machine does.
    """
    minutes = rng.uniform([3, 8, 10, 5], [8, 20, 30, 12])
    worked = np.cumsum(plan.running) / 60
    share = (worked / minutes.sum()) % 1.0
    phase = np.searchsorted(np.cumsum(minutes) / minutes.sum(), share, side="right").clip(0, 3)
    batch = np.floor(worked / minutes.sum()).astype(np.int64)
    starts = np.flatnonzero(np.diff(batch, prepend=-1))
    # a batch that begins in a new mode is of a recipe that nobody has seen: hotter, and mixed more
    recipes = np.where(plan.new_mode[starts] > 0.5, 1.0, plan.setpoint[starts])
    return phase.astype(np.float64), recipes[batch]


def batch(plan: Plan, rng: Generator) -> tuple[Signals, FloatArray]:
    """Return a heated, mixed vessel that works through recipes: fill, heat, hold, drain."""
    u = rng.uniform
    phase, recipe = _recipes(plan, rng)
    on = plan.running
    hot, mixing = (phase == 1) | (phase == 2), phase >= 1
    air = 22 + u(0.3, 0.8) * plan.ambient_k
    aim = np.where(hot, 40 + 45 * recipe, 26.0) * on + air * (1 - on)
    speed = settled(np.where(mixing, 35 + 50 * recipe, 0.0) * on, u(4, 12))
    level = settled(np.where(phase == 0, 85.0, np.where(phase == 3, 15.0, 85.0)), u(60, 150))
    content = settled(aim, u(150, 360))
    jacket = content + settled(0.5 * (aim - content), u(20, 60))
    heater = (2 * hot * on + (0.55 * (aim - content)).clip(0, 25) + 0.12 * (content - air)) * on
    cooling = settled(((content - aim) * 2.2 * (phase == 3)).clip(0, 90) * on, u(3, 10))
    thickness = 0.6 + 0.5 * recipe - 0.004 * (content - 40)
    torque = 0.01 * speed * (0.4 + thickness) * level / 85 * 100
    signals = {
        "temperature": (content, 0.35),
        "jacket_temperature": (jacket, 0.5),
        "heater_power": (settled(heater, u(3, 10)), 0.5),
        "mixer_torque": (torque, 1.3),
        "vibration": (0.15 * on + 0.025 * speed, 0.08),
        "motor_temperature": (air + 0.5 * settled(torque * speed / 60, u(500, 1200)), 0.7),
        "vessel_pressure": (1.0 + 0.012 * (content - 26) + 0.002 * level, 0.02),
        "cooling_flow": (cooling, 0.9),
        "drain_pressure": (0.4 + 0.012 * level + 0.3 * (phase == 3) * on, 0.02),
        "mixer_current": (2 * on + 0.12 * torque + 0.03 * speed, 0.3),
        "level": (level, 0.6),
        "recipe_setpoint": (np.where(hot, 40 + 45 * recipe, 26.0), 0.0),
        "mixer_speed": (speed, 0.3),
        "phase": (phase, 0.0),
        "ambient": (air, 0.3),
    }
    return signals, on * (0.4 + 0.6 * mixing)


BATCH = Kind(
    batch,
    ("temperature", "jacket_temperature", "heater_power", "mixer_torque"),
    ("recipe_setpoint", "mixer_speed", "phase", "ambient"),
    {"temperature": 120, "jacket_temperature": 60, "motor_temperature": 200},
    {
        "fouled_jacket": {"jacket_temperature": 1, "heater_power": 0.8, "temperature": -0.3},
        "wear": {"heater_power": 1, "jacket_temperature": -0.7},
        "leak": {"vessel_pressure": -1, "level": -0.8},
        "stuck_valve": {"cooling_flow": 1, "temperature": -0.8, "heater_power": 0.8},
        "bearing_wear": {"mixer_torque": 0.8, "vibration": 1, "motor_temperature": 0.8},
        "imbalance": {"vibration": 1, "mixer_torque": 0.3},
        "blocked_filter": {"drain_pressure": 1, "vessel_pressure": 0.4},
    },
)  # fmt: skip


KINDS: Final = {"pump": PUMP, "compressor": COMPRESSOR, "chiller": CHILLER, "batch": BATCH}
