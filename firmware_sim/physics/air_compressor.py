"""An oil-injected screw compressor that holds the pressure by loading and unloading.

Loading is averaged: the duty is the share of time on load, as the controller shows it. Pressures
in bar (gauge), air in m3/min, power in kW.
"""

from firmware_sim.physics.dynamics import clip, day_wave, lag, ramp
from firmware_sim.physics.machine import ECO, OFF, Machine

CAPACITY = 6.6  # m3/min at 7 bar
VOLUME_M3 = 1.5  # receiver and pipes
LOADED_KW = 37.0  # at 7.5 bar
UNLOADED_KW = 11.0
BLOW_OFF_BAR = 8.6
STUCK_PASS = 0.92  # share of the capacity that a half-open unload valve lets through
OIL_C_PER_KJ = 1.0 / 60.0
FAN_START_C = 66.0
FAN_PCT_PER_K = 6.0


class AirCompressor(Machine):
    """The simulated `air_compressor`."""

    machine_type = "air_compressor"
    noise = {
        "discharge_pressure_bar": (0.02, 0.012),
        "network_pressure_bar": (0.02, 0.012),
        "load_duty_pct": (0.6, 0.4),
        "motor_power_kw": (0.15, 0.08),
        "motor_temperature_c": (0.2, 0.15),
        "oil_temperature_c": (0.2, 0.15),
        "outlet_temperature_c": (0.2, 0.15),
        "intake_vacuum_mbar": (0.3, 0.2),
        "fan_speed_pct": (0.6, 0.4),
    }
    settings_default = {"fan_limit_pct": 100.0}
    counters = {
        "cycle_unload_valve": "unload_valve_cycles",
        "calibrate_pressure": "calibration_count",
    }

    def __init__(self, device: str, seed: int) -> None:
        super().__init__(device, seed)
        self._demand = self.wander(0.45, 240.0)
        self._room = self.wander(1.5, 300.0)
        self._setpoint = 7.4
        self._pressure = 7.4
        self._integral = 0.62
        self._duty = 0.62
        self._means = {"pressure": 7.4, "duty": 0.62, "power": 28.0}
        self._oil_c = 70.0
        self._outlet_c = 83.0
        self._motor_c = 60.0

    def step_drivers(self, dt_s: float, time_ns: int, mode: int) -> dict[str, float]:
        """Air drawn, set-point and room temperature."""
        target = (6.6 if mode == ECO else 7.3) + 0.3 * self.retarget(dt_s)
        self._setpoint = ramp(self._setpoint, target, 0.004 * dt_s)
        demand = 4.1 + 0.15 * day_wave(time_ns, 10.0) + self._demand.step(dt_s)
        demand += self.level("demand_step") * (0.9 if demand < 4.1 else -0.9)
        return {
            "air_demand_m3min": clip(demand, 2.8, 5.2),
            "pressure_setpoint_bar": self._setpoint,
            "ambient_temperature_c": 26.0 + 1.5 * day_wave(time_ns, 14.0) + self._room.step(dt_s),
        }

    def step_responses(self, dt_s: float, drivers: dict[str, float], mode: int) -> dict[str, float]:
        """Air first, then power, then heat; shown as the controller averages them."""
        demand = drivers["air_demand_m3min"]
        effective = self._air(dt_s, demand, mode)
        power = self._power(effective, mode)
        self._regulate(dt_s, drivers["pressure_setpoint_bar"], mode)
        means = self._means
        means["pressure"] = lag(means["pressure"], self._pressure, dt_s, 25.0)
        means["duty"] = lag(means["duty"], self._duty, dt_s, 25.0)
        means["power"] = lag(means["power"], power, dt_s, 25.0)
        fan = self._heat(dt_s, drivers["ambient_temperature_c"], power)
        return {
            "discharge_pressure_bar": means["pressure"] + self._sensor_offset(),
            "network_pressure_bar": means["pressure"] - 0.012 * demand * demand,
            "load_duty_pct": 100.0 * means["duty"],
            "motor_power_kw": means["power"],
            "motor_temperature_c": self._motor_c,
            "oil_temperature_c": self._oil_c,
            "outlet_temperature_c": self._outlet_c,
            "intake_vacuum_mbar": 18.0 * (1.0 + 1.6 * self.level("clogged_intake_filter")),
            "fan_speed_pct": fan,
        }

    def _sensor_offset(self) -> float:
        return 0.45 * self.level("pressure_sensor_offset")

    def _air(self, dt_s: float, demand: float, mode: int) -> float:
        capacity = CAPACITY * (1.0 - 0.01 * (self._pressure - 7.0))
        capacity *= 1.0 - 0.10 * self.level("clogged_intake_filter")
        stuck = STUCK_PASS * self.level("unload_valve_stuck")
        effective = 0.0 if mode == OFF else self._duty + (1.0 - self._duty) * stuck
        leak = 0.9 * self.level("air_leak")
        blown = 3.0 * max(0.0, self._pressure - BLOW_OFF_BAR)
        surplus = effective * capacity - demand - leak - blown
        self._pressure = max(0.0, self._pressure + surplus / 60.0 / VOLUME_M3 * dt_s)
        return effective

    def _power(self, effective: float, mode: int) -> float:
        if mode == OFF:
            return 0.0
        loaded = LOADED_KW * (1.0 + 0.06 * (self._pressure - 7.5))
        mean = effective * loaded + (1.0 - effective) * UNLOADED_KW
        hunting = 1.0 + 0.10 * self.defect("hunting")
        return mean * hunting * (1.0 + 0.12 * self.level("motor_overload"))

    def _regulate(self, dt_s: float, setpoint_bar: float, mode: int) -> None:
        if self.booting or mode == OFF:
            return
        error = setpoint_bar - self._pressure - self._sensor_offset()
        error -= 0.4 * self.defect("creeping_offset")
        self._integral = clip(self._integral + 0.02 * error * dt_s, 0.0, 1.0)
        self._duty = clip(self._integral + 1.5 * error, 0.0, 1.0)

    def _heat(self, dt_s: float, room_c: float, power_kw: float) -> float:
        starved = self.level("oil_starvation")
        cooling_air = room_c + 14.0 * self.level("hot_air_recirculation")
        wanted = 20.0 + FAN_PCT_PER_K * (self._oil_c - FAN_START_C)
        fan = clip(wanted, 15.0, max(15.0, self.settings["fan_limit_pct"]))
        cooler_kw_per_k = 0.15 + 0.0075 * fan
        heat_kw = 0.8 * power_kw * (1.0 - 0.45 * starved)
        gain = heat_kw - cooler_kw_per_k * (self._oil_c - cooling_air)
        self._oil_c += gain * OIL_C_PER_KJ * dt_s
        outlet = self._oil_c + 10.0 + 0.1 * power_kw + 32.0 * starved
        self._outlet_c = lag(self._outlet_c, outlet, dt_s, 30.0)
        motor = room_c + 0.045 * power_kw * power_kw + 10.0 * self.level("motor_overload")
        self._motor_c = lag(self._motor_c, motor, dt_s, 110.0)
        return fan

    def distort(self, measured: dict[str, float]) -> dict[str, float | None]:
        """Stuck oil sensor."""
        seen: dict[str, float | None] = dict(measured)
        oil_c = measured["oil_temperature_c"]
        seen["oil_temperature_c"] = self.freeze("oil_sensor_stuck", "oil_temperature_c", oil_c)
        return seen
