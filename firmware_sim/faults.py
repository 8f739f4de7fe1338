"""The catalogue of what can be done to a simulated machine, and what undoes it.

The machine types' files say how a fault looks; this says how it comes and goes. Physics asks only
for a fault's level, 0 to 1.
"""

from enum import StrEnum

from msgspec import Struct

LINK_FAULTS = ("link_loss", "link_down")
"""Faults under which the machine does not answer at all."""


DEFECT_RAMP_S = {"hunting": 60.0, "creeping_offset": 6 * 3600.0}
"""Defects that a release may bring, on every type of machine, and how long each takes to show in
full. Machines install, boot and answer as they should with them; what suffers are key signals.

``hunting``: the controller never settles; more power, vibration or heat at once.
``creeping_offset``: a rounding error adds up; what is regulated leaves its set-point over hours.
"""
DEFECT_FADE_S = 60.0


class Nature(StrEnum):
    """What ends a fault."""

    REMOTE = "remote"
    """The right remedy, sent over Modbus."""
    ON_SITE = "on_site"
    """Only a visit."""
    SELF = "self"
    """Time alone."""
    BAIT = "bait"
    """No fault at all: normal operation that must not raise an alarm."""


class FaultModel(Struct, frozen=True, kw_only=True):
    """How a fault comes, and the one thing that ends it."""

    nature: Nature
    cured_by: tuple[str, ...] = ()
    """Remedies of the machine type that end it."""
    diagnosable_as: tuple[str, ...] = ()
    """Fault codes that a diagnosis may fairly give; none for a bait."""
    ramp_s: float = 45.0
    fade_s: float = 15.0
    lasts_s: float | None = None
    pulse: str = ""
    """Command whose pulse ends it."""
    setting: str = ""
    """Setting that drifts to ``drifts_to``; writing a value within ``healthy`` ends it."""
    drifts_to: float = 0.0
    healthy: tuple[float, float] = (0.0, 0.0)
    hold_mode: int | None = None
    """Mode that, when asked for and held for ``hold_s``, ends it."""
    hold_s: float = 60.0
    defect: str = ""
    """Defect of the running firmware that it needs; firmware without the defect ends it."""
    relapse_s: float = 150.0
    """How long a restart covers up a firmware defect."""


class Episode(Struct, kw_only=True):
    """One fault that was injected into one machine."""

    device: str
    fault: str
    nature: Nature
    injected_ns: int
    ended_ns: int | None = None
    ended_by: str | None = None
    """A remedy's name, ``self``, or ``repair`` for a visit."""


def _on_site(code: str, ramp_s: float = 90.0) -> FaultModel:
    return FaultModel(nature=Nature.ON_SITE, diagnosable_as=(code,), ramp_s=ramp_s)


def _pulsed(code: str, remedy: str, pulse: str) -> FaultModel:
    return FaultModel(nature=Nature.REMOTE, cured_by=(remedy,), diagnosable_as=(code,), pulse=pulse)


def _drifted(
    code: str, remedy: str, setting: str, drifts_to: float, healthy: tuple[float, float]
) -> FaultModel:
    return FaultModel(
        nature=Nature.REMOTE,
        cured_by=(remedy,),
        diagnosable_as=(code,),
        ramp_s=60.0,
        setting=setting,
        drifts_to=drifts_to,
        healthy=healthy,
    )


def _passing(code: str, lasts_s: float) -> FaultModel:
    return FaultModel(
        nature=Nature.SELF, diagnosable_as=(code,), ramp_s=20.0, fade_s=20.0, lasts_s=lasts_s
    )


_EVERY_TYPE = {
    "link_loss": FaultModel(
        nature=Nature.SELF, diagnosable_as=("no_data",), ramp_s=1.0, fade_s=1.0, lasts_s=360.0
    ),
    "link_down": FaultModel(
        nature=Nature.ON_SITE, diagnosable_as=("no_data",), ramp_s=1.0, fade_s=1.0
    ),
    "demand_step": FaultModel(nature=Nature.BAIT, ramp_s=20.0, fade_s=20.0, lasts_s=480.0),
    "mode_switch": FaultModel(nature=Nature.BAIT, ramp_s=1.0, fade_s=1.0, lasts_s=420.0),
}

CATALOGUE: dict[str, dict[str, FaultModel]] = {
    "centrifugal_pump": {
        "cavitation": _drifted(
            "cavitation", "open_suction_valve", "suction_valve_pct", 22.0, (90.0, 100.0)
        ),
        "bearing_wear": _on_site("bearing_wear"),
        "clogged_strainer": _on_site("clogged_strainer"),
        "controller_hang": FaultModel(
            nature=Nature.REMOTE,
            cured_by=("restart_controller", "update_firmware"),  # an update restarts it, too
            diagnosable_as=("controller_hang",),
            pulse="restart",
        ),
        "setpoint_drift": _drifted(
            "setpoint_drift", "restore_recirculation", "recirculation_pct", 28.0, (0.0, 8.0)
        ),
        "firmware_bug": FaultModel(
            nature=Nature.REMOTE,
            cured_by=("update_firmware",),
            diagnosable_as=("firmware_bug",),
            defect="current_regulation",
        ),
        "flow_sensor_drift": _pulsed("flow_sensor_drift", "recalibrate_flow", "calibrate_flow"),
        "flow_sensor_stuck": _on_site("flow_sensor_stuck", ramp_s=1.0),
        "motor_sensor_broken": _on_site("motor_sensor_broken", ramp_s=1.0),
        "air_ingress": _passing("air_ingress", 300.0),
        "discharge_overpressure": _on_site("discharge_overpressure", ramp_s=30.0),
        **_EVERY_TYPE,
    },
    "air_compressor": {
        "unload_valve_stuck": _pulsed(
            "unload_valve_stuck", "cycle_unload_valve", "cycle_unload_valve"
        ),
        "clogged_intake_filter": _on_site("clogged_intake_filter"),
        "oil_overheating": _drifted(
            "oil_overheating", "raise_fan_limit", "fan_limit_pct", 26.0, (85.0, 100.0)
        ),
        "pressure_sensor_offset": _pulsed(
            "pressure_sensor_offset", "recalibrate_pressure", "calibrate_pressure"
        ),
        "air_leak": _on_site("air_leak"),
        "motor_overload": FaultModel(
            nature=Nature.REMOTE,
            cured_by=("derate",),
            diagnosable_as=("motor_overload",),
            hold_mode=3,
        ),
        "hot_air_recirculation": _passing("hot_air_recirculation", 330.0),
        "oil_sensor_stuck": _on_site("oil_sensor_stuck", ramp_s=1.0),
        "oil_starvation": _on_site("oil_starvation", ramp_s=40.0),
        **_EVERY_TYPE,
    },
    "chiller": {
        "refrigerant_leak": _on_site("refrigerant_leak"),
        "condenser_fouling": _on_site("condenser_fouling"),
        "expansion_valve_stuck": _pulsed("expansion_valve_stuck", "rehome_valve", "rehome_valve"),
        "setpoint_drift": _drifted(
            "setpoint_drift", "reset_supply_offset", "supply_offset_k", 2.0, (-0.25, 0.25)
        ),
        "return_sensor_drift": _pulsed(
            "return_sensor_drift", "recalibrate_return", "calibrate_return"
        ),
        "controller_hang": _pulsed("controller_hang", "restart_controller", "restart"),
        "discharge_sensor_broken": _on_site("discharge_sensor_broken", ramp_s=1.0),
        "liquid_floodback": _passing("liquid_floodback", 300.0),
        "high_pressure": _on_site("high_pressure", ramp_s=40.0),
        **_EVERY_TYPE,
    },
}
