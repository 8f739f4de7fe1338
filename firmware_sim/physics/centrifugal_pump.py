"""A centrifugal pump whose drive holds the discharge pressure by its speed.

Head and shaft power follow the affinity laws; the consumers are a throttle against a static
pressure. Pressures in bar (gauge), flows in m3/h, speed relative to 2900 rpm.
"""

import math

from firmware_sim.physics.dynamics import clip, day_wave, lag, ramp
from firmware_sim.physics.machine import ECO, OFF, Machine

RATED_RPM = 2900.0
SHUT_OFF_BAR = 7.4  # head at zero flow and rated speed
HEAD_DROOP = 4.4e-4  # bar per (m3/h)^2
STATIC_BAR = 1.0  # pressure against which the consumers draw
CONSUMER_FLOW = 56.0  # m3/h per sqrt(bar) with all valves open
RECIRCULATION_FLOW = 40.0
VALVE_DROP = 5.0e-6  # bar per (m3/h)^2, suction valve fully open
STRAINER_DROP = 8.3e-6
NPSH_KNEE_BAR = 0.15  # suction pressure below which vapour begins to form
FALLBACK_SPEED = 0.70
MAX_SPEED = 1.03
RUNAWAY_SPEED = 1.10
RELIEF_BAR = 5.6


class CentrifugalPump(Machine):
    """The simulated `centrifugal_pump`."""

    machine_type = "centrifugal_pump"
    noise = {
        "speed_rpm": (7.0, 4.0),
        "flow_m3h": (0.4, 0.25),
        "discharge_pressure_bar": (0.02, 0.01),
        "suction_pressure_bar": (0.003, 0.002),
        "motor_current_a": (0.12, 0.06),
        "motor_temperature_c": (0.35, 0.25),
        "bearing_temperature_c": (0.2, 0.15),
        "vibration_mm_s": (0.06, 0.03),
        "strainer_dp_mbar": (0.6, 0.4),
    }
    settings_default = {"suction_valve_pct": 100.0, "recirculation_pct": 5.0}
    counters = {"calibrate_flow": "calibration_count"}

    def __init__(self, device: str, seed: int) -> None:
        super().__init__(device, seed)
        self._demand = self.wander(5.0, 240.0)
        self._level = self.wander(0.2, 300.0)
        self._ambient = self.wander(1.5, 300.0)
        self._setpoint = 4.1
        self._speed = 0.85
        self._flow = 50.0
        self._motor_c = 55.0
        self._bearing_c = 45.0

    def step_drivers(self, dt_s: float, time_ns: int, mode: int) -> dict[str, float]:
        """Set-point, consumers' valves, tank level and ambient temperature."""
        target = (3.4 if mode == ECO else 4.0) + 0.35 * self.retarget(dt_s)
        self._setpoint = ramp(self._setpoint, target, 0.006 * dt_s)
        demand = 55.0 + 2.0 * day_wave(time_ns, 11.0) + self._demand.step(dt_s)
        demand += self.level("demand_step") * (10.0 if demand < 55.0 else -10.0)
        return {
            "pressure_setpoint_bar": self._setpoint,
            "demand_pct": clip(demand, 38.0, 70.0),
            "supply_level_m": clip(3.0 + self._level.step(dt_s), 2.3, 3.7),
            "ambient_temperature_c": 22.0
            + 1.5 * day_wave(time_ns, 14.0)
            + self._ambient.step(dt_s),
        }

    def step_responses(self, dt_s: float, drivers: dict[str, float], mode: int) -> dict[str, float]:
        """Hydraulics first, then the drive's regulation, then heat."""
        out = self._hydraulics(dt_s, drivers, mode)
        wanted = drivers["pressure_setpoint_bar"] - 0.5 * self.defect("creeping_offset")
        self._regulate(dt_s, wanted - out["discharge_pressure_bar"], mode)
        self._heat(dt_s, drivers["ambient_temperature_c"], out["motor_current_a"])
        out["flow_m3h"] *= 1.0 + 0.14 * self.level("flow_sensor_drift")
        out["motor_temperature_c"] = self._motor_c
        out["bearing_temperature_c"] = self._bearing_c
        return out

    def _hydraulics(self, dt_s: float, drivers: dict[str, float], mode: int) -> dict[str, float]:
        flow, speed = self._flow, self._speed
        flow2 = flow * flow
        strainer = STRAINER_DROP * flow2 * (1.0 + 3.5 * self.level("clogged_strainer"))
        opening = max(self.settings["suction_valve_pct"], 5.0) / 100.0
        suction = 0.0981 * drivers["supply_level_m"] - strainer
        suction -= VALVE_DROP * flow2 / (opening * opening)
        vapour = clip((NPSH_KNEE_BAR - suction) / 0.25, 0.0, 1.0)
        air = self.level("air_ingress")
        density = (1.0 - 0.6 * air) * (1.0 - 0.12 * vapour)
        head = max(0.0, (SHUT_OFF_BAR * speed * speed - HEAD_DROOP * flow2) * density)
        discharge = suction + head
        drawn = CONSUMER_FLOW * drivers["demand_pct"] / 100.0
        drawn *= math.sqrt(max(0.0, discharge - STATIC_BAR))
        recirculated = RECIRCULATION_FLOW * self.settings["recirculation_pct"] / 100.0
        recirculated *= math.sqrt(max(0.0, discharge))
        relief = 12.0 * max(0.0, discharge - RELIEF_BAR)
        self._flow = lag(flow, 0.0 if mode == OFF else drawn + recirculated + relief, dt_s, 1.0)
        wear = self.level("bearing_wear")
        shaft_kw = flow * head / 36.0 / 0.70 + (1.0 + 0.15 * wear) * speed**3
        current = 1.83 * shaft_kw * (1.0 + 0.18 * self.level("firmware_bug")) + 1.5 * speed
        hunting = self.defect("hunting")
        current *= 1.0 + 0.08 * hunting
        vibration = 1.3 * speed * speed + 2.2 * wear + 3.0 * vapour + 1.6 * air + hunting
        return {
            "speed_rpm": speed * RATED_RPM,
            "flow_m3h": flow,
            "discharge_pressure_bar": discharge,
            "suction_pressure_bar": suction,
            "motor_current_a": current,
            "vibration_mm_s": vibration,
            "strainer_dp_mbar": strainer * 1000.0,
        }

    def _regulate(self, dt_s: float, error_bar: float, mode: int) -> None:
        runaway = self.level("discharge_overpressure")
        if mode == OFF:
            self._speed = ramp(self._speed, 0.0, 0.05 * dt_s)
        elif runaway > 0:
            self._speed = ramp(self._speed, RUNAWAY_SPEED, 0.02 * dt_s)
        elif self.level("controller_hang") > 0 or self.booting:
            target = self._speed if self.booting else FALLBACK_SPEED
            self._speed = ramp(self._speed, target, 0.01 * dt_s)
        else:
            change = clip(0.05 * error_bar, -0.03, 0.03) * dt_s
            self._speed = clip(self._speed + change, 0.4, max(MAX_SPEED, self._speed - 0.01))

    def _heat(self, dt_s: float, ambient_c: float, current_a: float) -> None:
        motor = ambient_c + 0.08 * current_a * current_a
        self._motor_c = lag(self._motor_c, motor, dt_s, 120.0)
        friction = 22.0 * self._speed * self._speed + 20.0 * self.level("bearing_wear")
        self._bearing_c = lag(self._bearing_c, ambient_c + 6.0 + friction, dt_s, 150.0)

    def distort(self, measured: dict[str, float]) -> dict[str, float | None]:
        """Stuck flow meter, broken winding sensor."""
        seen: dict[str, float | None] = dict(measured)
        seen["flow_m3h"] = self.freeze("flow_sensor_stuck", "flow_m3h", measured["flow_m3h"])
        if self.level("motor_sensor_broken") > 0:
            seen["motor_temperature_c"] = None
        return seen

    def flags(self, truth: dict[str, float]) -> dict[str, float]:
        """Whether the relief valve has lifted."""
        return {"relief_valve_open": float(truth["discharge_pressure_bar"] > RELIEF_BAR)}
