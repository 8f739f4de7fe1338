"""Four kinds of healthy machine at 1 Hz, from physics and process knowledge, without noise.

A kind is a function of a `Plan` (what the operator, the weather and the demand do) and a random
generator (this machine's own gains, time constants and ranges). It returns a `Plant`: the expected
value of every signal that such a machine could have, the usual scatter of one reading around it,
and how each physical fault shows.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Uniform = Callable[[float, float], float]
Signatures = dict[str, dict[str, float]]


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


class Plant(NamedTuple):
    """What one machine's signals would read without noise, and how its faults show."""

    signals: dict[str, tuple[FloatArray, float]]
    """Expected value and the standard deviation of one reading around it, physical units."""
    load: FloatArray
    """How hard the machine works, 0-1; faults of the process show in proportion."""
    core: tuple[str, ...]
    """Signals that every machine of the kind has."""
    drivers: tuple[str, ...]
    """Causes and free wanderers: no expectation of them exists, so no fault is put on them."""
    slow: dict[str, float]
    """Signals in which a fault arrives with this lag (s)."""
    signatures: Signatures
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


def pump(plan: Plan, rng: Generator) -> Plant:
    """Return a variable-speed pump set: affinity laws, thermal lags, wandering suction."""
    u: Uniform = rng.uniform
    n = plan.hour.size
    speed = settled((0.35 + 0.65 * plan.setpoint) * plan.running, u(3, 12))
    # a new mode opens a second consumer: more flow at less head
    valve = (u(0.75, 0.95) + 0.15 * wander(rng, n, u(2000, 6000)).clip(-1, 1) * u(0, 0.3)) * (
        1 + 0.25 * plan.new_mode
    )
    level = 3 + 0.25 * wander(rng, n, u(4000, 15000)).clip(-3, 3)
    flow = 100 * speed * valve
    head = 4.0 * speed**2 * (1.3 - 0.35 * valve**2)
    suction = 0.1 * level + 0.6 - 0.1 * speed**2 * valve**2
    power = 30 * speed**3 * (0.4 + 0.6 * valve)
    torque = power / np.maximum(speed, 0.2)
    air = 24 + u(0.3, 1) * plan.ambient_k
    winding = air + 45 * settled((power / 30) ** 1.2, u(700, 2400))
    bearing = air + 25 * settled(speed**1.5, u(250, 900))
    second = air + 22 * settled(speed**1.5, u(250, 900))
    vibration = (
        plan.running * 0.4
        + 2 * speed**2
        + u(0.2, 0.8) * np.exp(-(((speed - u(0.5, 0.8)) / 0.05) ** 2))
    )
    signals = {
        "flow": (flow, 1.0),
        "discharge_pressure": (suction + head, 0.04),
        "power": (power, 0.35),
        "bearing_temperature": (bearing, 0.5),
        "vibration": (vibration, 0.09),
        "winding_temperature": (winding, 0.8),
        "suction_pressure": (suction, 0.015),
        "motor_current": (12 * plan.running + 0.9 * torque, 0.5),
        "bearing_temperature_2": (second, 0.5),
        "vibration_axial": (0.6 * vibration + 0.2, 0.07),
        "filter_difference": (0.25 * (flow / 100) ** 2, 0.006),
        "speed_setpoint": (plan.setpoint * 65 + 35, 0.0),
        "speed": (100 * speed, 0.15),
        "tank_level": (level, 0.02),
        "ambient": (air, 0.3),
        "valve_position": (100 * valve, 0.3),
    }
    signatures: Signatures = {
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
    }  # fmt: skip
    return Plant(
        signals,
        speed,
        ("flow", "discharge_pressure", "power", "bearing_temperature"),
        ("speed_setpoint", "speed", "tank_level", "ambient", "valve_position"),
        {"winding_temperature": 240, "bearing_temperature": 150, "bearing_temperature_2": 150},
        signatures,
    )


def compressor(plan: Plan, rng: Generator) -> Plant:
    """Return a fixed-speed compressor that loads and unloads between two receiver pressures."""
    u: Uniform = rng.uniform
    n = plan.hour.size
    shift = np.exp(-(((plan.hour - u(10, 15)) / u(3, 6)) ** 2))
    demand = 0.2 + 0.4 * plan.setpoint + u(0, 0.2) * shift
    demand = (demand + 0.05 * wander(rng, n, u(900, 3000)) + plan.leak).clip(0.12, 0.9)
    # filling takes 1 / (1 - demand), emptying 1 / demand of the receiver's own time
    cycle_s = 10 ** u(0.7, 1.8) * (1 / demand + 1 / (1 - demand))
    phase = np.cumsum(plan.running / cycle_s) % 1.0
    loaded = ((phase < demand) & (plan.running > 0)).astype(np.float64)
    saw = np.where(loaded > 0, phase / demand, (1 - phase) / (1 - demand)) - 0.5
    receiver = 6.8 + 0.9 * plan.new_mode + u(0.3, 0.6) * saw
    work = settled(loaded, u(1, 3)) * (1 + 0.1 * (receiver - 6.8))
    on = settled(plan.running, 5.0)
    air = 22 + u(0.4, 1) * plan.ambient_k
    element = settled(loaded * (1 + 0.08 * (receiver - 6.8)), u(40, 150))
    oil = settled(0.35 * plan.running + 0.65 * loaded, u(300, 900))
    discharge = air + 30 * on + 42 * element
    signals = {
        "receiver_pressure": (receiver, 0.04),
        "motor_current": (28 * on + 62 * work, 1.2),
        "discharge_temperature": (discharge, 0.8),
        "vibration": (0.8 * on + 1.4 * work, 0.12),
        "oil_temperature": (air + 38 * oil, 0.6),
        "outlet_flow": (100 * demand * on, 1.2),
        "intake_pressure": (-0.03 * on - 0.05 * work, 0.003),
        "interstage_pressure": (0.4 * on + 1.9 * work, 0.06),
        "winding_temperature": (
            air + 50 * settled((0.3 * on + 0.7 * work) ** 2, u(900, 2400)),
            0.7,
        ),
        "outlet_temperature": (air + 6 * on + 5 * element, 0.4),
        "oil_pressure": (2.2 * on + 0.5 * work - 0.3 * oil * on, 0.05),
        "load_command": (loaded, 0.0),
        "ambient": (air, 0.3),
        "demand_signal": (100 * demand, 1.0),
    }
    signatures: Signatures = {
        "valve_leak": {"discharge_temperature": 1, "interstage_pressure": 0.9, "outlet_flow": -0.8},
        "leak": {"receiver_pressure": -1, "outlet_flow": 0.9, "motor_current": 0.3},
        "fouled_cooling": {
            "oil_temperature": 1, "outlet_temperature": 1, "discharge_temperature": 0.7,
        },
        "blocked_filter": {"intake_pressure": -1, "motor_current": 0.8, "outlet_flow": -0.8},
        "bearing_wear": {"vibration": 1, "oil_temperature": 0.8, "winding_temperature": 0.4},
        "imbalance": {"vibration": 1},
        "wear": {"motor_current": 1, "discharge_temperature": 0.8, "outlet_flow": -0.6},
    }  # fmt: skip
    return Plant(
        signals,
        (0.5 * on + 0.5 * work).clip(0, 1),
        ("receiver_pressure", "motor_current", "discharge_temperature", "vibration"),
        ("load_command", "ambient", "demand_signal"),
        {"discharge_temperature": 60, "oil_temperature": 180, "winding_temperature": 240,
         "outlet_temperature": 60},
        signatures,
    )  # fmt: skip


KINDS: Final[dict[str, Callable[[Plan, Generator], Plant]]] = {
    "pump": pump,
    "compressor": compressor,
}
