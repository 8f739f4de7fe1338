"""An air-cooled chiller: one refrigeration cycle that holds the water supply temperature.

The cycle is steady at every step (saturation curve of an R513A-like refrigerant, efficiency as a
share of Carnot's); water loop and valve have inertia. Pressures in bar (gauge), power in kW.
"""

import math

from firmware_sim.physics.dynamics import clip, day_wave, lag, ramp
from firmware_sim.physics.machine import ECO, OFF, Machine

WATER_KW_PER_K = 18.2  # heat that the water flow carries per kelvin
LOOP_KJ_PER_K = 900.0
CAPACITY_KW = 135.0
CARNOT_SHARE = 0.5
FALLBACK_CAPACITY = 0.95
FREEZE_GUARD_C = 3.0
HIGH_PRESSURE_BAR = 17.0


def saturation_bar(temperature_c: float) -> float:
    """Return the gauge pressure at which the refrigerant boils at ``temperature_c``."""
    return 2.93 * math.exp(0.0308 * temperature_c) - 1.013


class Chiller(Machine):
    """The simulated `chiller`."""

    machine_type = "chiller"
    noise = {
        "supply_temperature_c": (0.05, 0.03),
        "return_temperature_c": (0.05, 0.03),
        "evaporating_pressure_bar": (0.012, 0.008),
        "condensing_pressure_bar": (0.06, 0.04),
        "superheat_k": (0.12, 0.08),
        "subcooling_k": (0.10, 0.06),
        "discharge_temperature_c": (0.2, 0.15),
        "compressor_power_kw": (0.25, 0.15),
        "fan_speed_pct": (0.8, 0.5),
        "valve_position_pct": (0.5, 0.3),
    }
    settings_default = {"supply_offset_k": 0.0}
    counters = {"rehome_valve": "valve_homing_count", "calibrate_return": "calibration_count"}

    def __init__(self, device: str, seed: int) -> None:
        super().__init__(device, seed)
        self._load = self.wander(5.0, 240.0)
        self._ambient = self.wander(1.5, 300.0)
        self._setpoint = 7.0
        self._supply_c = 7.0
        self._return_c = 11.5
        self._capacity = 0.6
        self._integral = 0.6
        self._evaporating_c = 3.5
        self._condensing_c = 44.0
        self._superheat_k = 6.0
        self._subcooling_k = 6.0
        self._hot_gas_c = 70.0
        self._valve_pct = 45.0
        self._fan_pct = 50.0

    def step_drivers(self, dt_s: float, time_ns: int, mode: int) -> dict[str, float]:
        """Cooling load, set-point and outdoor temperature."""
        target = (8.5 if mode == ECO else 6.5) + 0.8 * self.retarget(dt_s)
        self._setpoint = ramp(self._setpoint, target, 0.006 * dt_s)
        load = 76.0 + 2.5 * day_wave(time_ns, 15.0) + self._load.step(dt_s)
        load += self.level("demand_step") * (9.0 if load < 76.0 else -9.0)
        return {
            "cooling_load_kw": clip(load, 58.0, 96.0),
            "supply_setpoint_c": self._setpoint,
            "ambient_temperature_c": 25.0
            + 1.5 * day_wave(time_ns, 14.0)
            + self._ambient.step(dt_s),
        }

    def step_responses(self, dt_s: float, drivers: dict[str, float], mode: int) -> dict[str, float]:
        """Water loop and cycle, then capacity and valve."""
        load = drivers["cooling_load_kw"]
        cooling, power = self._cycle(dt_s, drivers["ambient_temperature_c"], mode)
        self._supply_c += (load - cooling) / LOOP_KJ_PER_K * dt_s
        warmed = self._supply_c + load / WATER_KW_PER_K
        self._return_c = lag(self._return_c, warmed, dt_s, 15.0)
        self._valve(dt_s, cooling)
        setpoint = drivers["supply_setpoint_c"] + self.settings["supply_offset_k"]
        setpoint += 1.5 * self.defect("creeping_offset")
        self._regulate(dt_s, setpoint, mode)
        return {
            "supply_temperature_c": self._supply_c,
            "return_temperature_c": self._return_c + 1.2 * self.level("return_sensor_drift"),
            "evaporating_pressure_bar": saturation_bar(self._evaporating_c),
            "condensing_pressure_bar": saturation_bar(self._condensing_c),
            "superheat_k": self._superheat_k,
            "subcooling_k": self._subcooling_k,
            "discharge_temperature_c": self._hot_gas_c,
            "compressor_power_kw": power,
            "fan_speed_pct": self._fan_pct,
            "valve_position_pct": self._valve_pct,
        }

    def _cycle(self, dt_s: float, ambient_c: float, mode: int) -> tuple[float, float]:
        leak = self.level("refrigerant_leak")
        cold, hot = self._evaporating_c, self._condensing_c
        full = CAPACITY_KW * (1.0 + 0.03 * (cold - 3.0)) * (1.0 - 0.008 * (hot - 44.0))
        cooling = 0.0 if mode == OFF else self._capacity * full * (1.0 - 0.12 * leak)
        hunting = self.defect("hunting")
        efficiency = CARNOT_SHARE * (cold + 273.0) / max(10.0, hot - cold) * (1.0 - 0.10 * hunting)
        power = cooling / efficiency
        starved = max(0.0, self._superheat_k - 6.0)
        self._evaporating_c = lag(cold, self._supply_c - cooling / 23.0 - 0.35 * starved, dt_s, 8.0)
        standing = self.level("high_pressure")
        fan = clip(45.0 + 5.0 * (hot - 42.0), 10.0, 100.0)
        fan = max(fan, 100.0 * self.level("controller_hang")) * (1.0 - standing)
        self._fan_pct = lag(self._fan_pct, fan, dt_s, 5.0)
        clean = 1.0 - 0.36 * self.level("condenser_fouling")
        condenser_kw_per_k = (2.4 + 0.055 * self._fan_pct) * clean
        condensing = ambient_c + (cooling + power) / condenser_kw_per_k
        self._condensing_c = lag(hot, condensing, dt_s, 20.0)
        hot_gas = self._condensing_c + 18.0 + 1.3 * self._superheat_k
        hot_gas += 5.0 * hunting - 4.0 * self.level("liquid_floodback")
        self._hot_gas_c = lag(self._hot_gas_c, hot_gas, dt_s, 30.0)
        return cooling, power

    def _valve(self, dt_s: float, cooling_kw: float) -> None:
        """Feed the evaporator; a valve that passes too little raises superheat and subcooling."""
        stuck, leak = self.level("expansion_valve_stuck"), self.level("refrigerant_leak")
        lift = saturation_bar(self._condensing_c) - saturation_bar(self._evaporating_c)
        needed = 40.0 * cooling_kw / 76.0 / math.sqrt(max(1.0, lift) / 8.0)
        passing = 1.0 - stuck * clip(1.0 - 20.0 / max(needed, 1.0), 0.2, 0.6)
        starving = max(stuck, leak)
        wanted = min(100.0, needed * (1.0 + 1.2 * starving))
        self._valve_pct = ramp(self._valve_pct, wanted, 0.4 * dt_s)
        flood = self.level("liquid_floodback")
        superheat = 6.0 + 14.0 * (1.0 - passing) + 6.0 * leak - 4.5 * flood
        subcooling = 6.0 + 8.0 * (1.0 - passing) - 4.5 * leak
        self._superheat_k = lag(self._superheat_k, superheat, dt_s, 15.0)
        self._subcooling_k = lag(self._subcooling_k, subcooling, dt_s, 20.0)

    def _regulate(self, dt_s: float, setpoint_c: float, mode: int) -> None:
        if self.booting or mode == OFF:
            return
        if self.level("controller_hang") > 0:
            allowed = clip((self._supply_c - FREEZE_GUARD_C) / 1.5, 0.0, 1.0)
            target = min(FALLBACK_CAPACITY, 0.35 + 0.6 * allowed)
            self._capacity = self._integral = ramp(self._capacity, target, 0.01 * dt_s)
            return
        error = self._supply_c - setpoint_c
        self._integral = clip(self._integral + 0.01 * error * dt_s, 0.15, 1.0)
        self._capacity = clip(self._integral + 0.6 * error, 0.1, 1.0)

    def distort(self, measured: dict[str, float]) -> dict[str, float | None]:
        """Broken hot-gas sensor."""
        seen: dict[str, float | None] = dict(measured)
        if self.level("discharge_sensor_broken") > 0:
            seen["discharge_temperature_c"] = None
        return seen

    def flags(self, truth: dict[str, float]) -> dict[str, float]:
        """Whether the high-pressure switch has tripped a fan stage."""
        return {"high_pressure_switch": float(truth["condensing_pressure_bar"] > HIGH_PRESSURE_BAR)}
