"""What all simulated machines share: modes, settings, restarts, faults coming and going.

A machine is stepped by its owner and knows no clock. Two machines of the same type, device and
seed draw the same random numbers whatever is done to them, so a faulty run and its healthy twin
differ by the fault alone.
"""

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from contract.errors import Refused
from contract.firmware import version_number
from firmware_sim.faults import (
    CATALOGUE,
    DEFECT_FADE_S,
    DEFECT_RAMP_S,
    LINK_FAULTS,
    Episode,
    FaultModel,
)
from firmware_sim.physics.dynamics import Sensor, Wander, ramp

OFF, STARTING, RUN, ECO = 0, 1, 2, 3
BOOT_S = 15.0
"""How long a restarting controller does not answer."""
STARTING_S = 20.0
HOLD_S = 1800.0
"""How long a mode that was asked for is held before the schedule takes over again."""


class Machine(ABC):
    """One machine: call `step` with at most one second at a time, then read `values`."""

    machine_type: ClassVar[str]
    noise: ClassVar[dict[str, tuple[float, float]]]
    """White and slow noise of each response, in its unit (standard deviations)."""
    settings_default: ClassVar[dict[str, float]]
    counters: ClassVar[dict[str, str]]
    """Command of kind pulse to the signal that counts its runs."""

    def __init__(self, device: str, seed: int) -> None:
        self.device = device
        self.now_ns = 0
        self.values: dict[str, float | None] = {}
        self.settings = {"mode_request": 0.0, **self.settings_default}
        self.firmware = "1.0.0"
        models = CATALOGUE[self.machine_type].values()
        self.defects = tuple(sorted(model.defect for model in models if model.defect))
        self.episodes: list[Episode] = []
        self.levels: dict[str, float] = {}
        self._defect_levels = dict.fromkeys(DEFECT_RAMP_S, 0.0)
        self._active: dict[str, Episode] = {}
        self._drifting: dict[str, FaultModel] = {}
        self._suppressed_until_ns = 0
        self._held_s = 0.0
        self._request_s = 0.0
        self._boot_left_s = 0.0
        self._starting_left_s = STARTING_S
        self._rng = Random(f"{seed}/{device}/plant")
        noise_rng = Random(f"{seed}/{device}/noise")
        self._sensors = {
            name: Sensor(noise_rng, white, slow) for name, (white, slow) in self.noise.items()
        }
        self._frozen: dict[str, float] = {}
        self._schedule_mode = RUN
        self._schedule_left_s = self._rng.uniform(200.0, 700.0)
        self._retarget_left_s = 0.0
        self._target = 0.5
        self._run_s = self._rng.uniform(0.5, 3.0) * 3.6e7
        self._counts = {"boot_count": 1.0, **dict.fromkeys(self.counters.values(), 0.0)}

    # ---- for the one who owns the machine -------------------------------------------------------

    @property
    def answers(self) -> bool:
        """Whether the controller answers: not while it boots, nor when its link is lost."""
        return self._boot_left_s <= 0 and not any(code in self._active for code in LINK_FAULTS)

    @property
    def booting(self) -> bool:
        """Whether the controller is restarting."""
        return self._boot_left_s > 0

    def step(self, dt_s: float, time_ns: int) -> None:
        """Go on by ``dt_s`` (at most 1 s) to ``time_ns``; then `values` are as of that time."""
        if not 0 < dt_s <= 1:
            raise ValueError(f"a step of {dt_s} s: steps must be longer than 0 and at most 1 s")
        self.now_ns = time_ns
        self._step_boot(dt_s)
        self._step_faults(dt_s)
        self._step_defects(dt_s)
        mode = self._step_mode(dt_s)
        drivers = self.step_drivers(dt_s, time_ns, mode)
        truth = self.step_responses(dt_s, drivers, mode)
        if mode != OFF:
            self._run_s += dt_s
        measured = {name: sensor.read(truth[name], dt_s) for name, sensor in self._sensors.items()}
        self.values = {
            **drivers,
            "mode": float(mode),
            **self.distort(measured),
            **self.settings,
            **self._counts,
            **self.flags(truth),
            "firmware_version": float(version_number(self.firmware)),
            "run_hours": self._run_s / 3600.0,
        }

    def inject(self, fault: str) -> Episode:
        """Start a fault, or a bait.

        Raises:
            Refused: the type has no such fault, it is there already, or the running firmware does
                not have the defect that it needs.
        """
        model = CATALOGUE[self.machine_type].get(fault)
        if model is None:
            known = ", ".join(CATALOGUE[self.machine_type])
            raise Refused(f"{self.machine_type} has no fault {fault!r}; it has {known}")
        if fault in self._active:
            raise Refused(f"{self.device} has {fault} already")
        if model.defect and model.defect not in self.defects:
            raise Refused(f"firmware {self.firmware} of {self.device} has no {model.defect} defect")
        episode = Episode(
            device=self.device, fault=fault, nature=model.nature, injected_ns=self.now_ns
        )
        self.episodes.append(episode)
        self._active[fault] = episode
        self.levels.setdefault(fault, 0.0)
        if model.setting:
            self._drifting[model.setting] = model
        return episode

    def repair(self, fault: str) -> None:
        """End a fault as a visit does: whatever was wrong is put right.

        Raises:
            Refused: the machine does not have this fault.
        """
        if fault not in self._active:
            raise Refused(f"{self.device} does not have {fault}")
        setting = CATALOGUE[self.machine_type][fault].setting
        if setting:
            self._drifting.pop(setting, None)
            self.settings[setting] = self.settings_default[setting]
        self._end(fault, "repair")

    # ---- what arrives over Modbus ---------------------------------------------------------------

    def write(self, setting: str, value: float) -> None:
        """Change a setting; the fault that had moved it ends if the value is a healthy one."""
        self.settings[setting] = value
        if setting == "mode_request":
            self._held_s = self._request_s = 0.0
        self._drifting.pop(setting, None)
        for fault, model in self._models():
            if model.setting == setting and model.healthy[0] <= value <= model.healthy[1]:
                self._end(fault, model.cured_by[0])

    def pulse(self, command: str) -> None:
        """Run a command that clears itself: ``restart``, or one that the type counts."""
        if command == "restart":
            self._boot_left_s = BOOT_S
            return
        self._counts[self.counters[command]] += 1
        self._end_pulsed(command)

    def confirm_firmware(self) -> None:
        """Keep the running firmware: faults whose defect it lacks are over for good."""
        for fault, model in self._models():
            if model.defect and model.defect not in self.defects:
                self._end(fault, model.cured_by[0])

    # ---- for the types --------------------------------------------------------------------------

    @abstractmethod
    def step_drivers(self, dt_s: float, time_ns: int, mode: int) -> dict[str, float]:
        """Return what the plant asks for and gives, as of ``time_ns``."""

    @abstractmethod
    def step_responses(self, dt_s: float, drivers: dict[str, float], mode: int) -> dict[str, float]:
        """Return the true values of the responses; may carry more than is measured."""

    def distort(self, measured: dict[str, float]) -> dict[str, float | None]:
        """Let sensor faults act on what was measured; ``None`` is "no valid value"."""
        return dict(measured)

    def flags(self, truth: dict[str, float]) -> dict[str, float]:
        """Return the type's on/off signals."""
        del truth
        return {}

    def level(self, fault: str) -> float:
        """Return how far a fault has come, 0 to 1."""
        return self.levels.get(fault, 0.0)

    def defect(self, name: str) -> float:
        """Return how far a defect that the running release brought has come, 0 to 1."""
        return self._defect_levels[name]

    def freeze(self, fault: str, signal: str, value: float) -> float:
        """Return the value, or, under the fault, the one that it had when the fault began."""
        if self.level(fault) <= 0:
            self._frozen.pop(signal, None)
            return value
        return self._frozen.setdefault(signal, value)

    def wander(self, deviation: float, tau_s: float) -> Wander:
        """Return a wandering driver that draws from the plant's random numbers."""
        return Wander(self._rng, deviation, tau_s)

    def retarget(self, dt_s: float) -> float:
        """Return where in its band the set-point should stand, 0 to 1; moves every few minutes."""
        self._retarget_left_s -= dt_s
        if self._retarget_left_s <= 0:
            self._retarget_left_s = self._rng.uniform(180.0, 420.0)
            self._target = self._rng.random()
        return self._target

    # ---- inside ---------------------------------------------------------------------------------

    def _models(self) -> list[tuple[str, FaultModel]]:
        return [(fault, CATALOGUE[self.machine_type][fault]) for fault in self._active]

    def _end(self, fault: str, by: str) -> None:
        episode = self._active.pop(fault)
        episode.ended_ns = self.now_ns
        episode.ended_by = by

    def _end_pulsed(self, command: str) -> None:
        for fault, model in self._models():
            if model.pulse == command:
                self._end(fault, model.cured_by[0])

    def _step_boot(self, dt_s: float) -> None:
        if self._boot_left_s <= 0:
            return
        self._boot_left_s -= dt_s
        if self._boot_left_s <= 0:
            self._counts["boot_count"] += 1
            self._starting_left_s = STARTING_S
            covered = [model.relapse_s for _, model in self._models() if model.defect]
            self._suppressed_until_ns = self.now_ns + int(max(covered, default=0.0) * 1e9)
            self._end_pulsed("restart")

    def _step_faults(self, dt_s: float) -> None:
        for setting, model in self._drifting.items():
            healthy = self.settings_default[setting]
            rate = abs(model.drifts_to - healthy) / model.ramp_s
            self.settings[setting] = ramp(self.settings[setting], model.drifts_to, rate * dt_s)
        for fault, model in self._models():
            age_s = (self.now_ns - self._active[fault].injected_ns) / 1e9
            if model.lasts_s is not None and age_s >= model.lasts_s:
                self._end(fault, "self")
            elif model.hold_mode is not None:
                self._step_hold(fault, model, dt_s)
        for fault in list(self.levels):
            model = CATALOGUE[self.machine_type][fault]
            if fault in self._active and not self._covered(model):
                self.levels[fault] = min(1.0, self.levels[fault] + dt_s / model.ramp_s)
            else:
                self.levels[fault] = max(0.0, self.levels[fault] - dt_s / model.fade_s)
            if fault not in self._active and self.levels[fault] <= 0:
                del self.levels[fault]

    def _step_defects(self, dt_s: float) -> None:
        for name, ramp_s in DEFECT_RAMP_S.items():
            target, span_s = (1.0, ramp_s) if name in self.defects else (0.0, DEFECT_FADE_S)
            self._defect_levels[name] = ramp(self._defect_levels[name], target, dt_s / span_s)

    def _step_hold(self, fault: str, model: FaultModel, dt_s: float) -> None:
        held = self.settings["mode_request"] == model.hold_mode
        self._held_s = self._held_s + dt_s if held else 0.0
        if self._held_s >= model.hold_s:
            self._end(fault, model.cured_by[0])

    def _covered(self, model: FaultModel) -> bool:
        return bool(model.defect) and (
            model.defect not in self.defects or self.now_ns < self._suppressed_until_ns
        )

    def _step_mode(self, dt_s: float) -> int:
        self._schedule_left_s -= dt_s
        if self._schedule_left_s <= 0:
            self._schedule_mode = ECO if self._schedule_mode == RUN else RUN
            low, high = (600.0, 840.0) if self._schedule_mode == RUN else (420.0, 600.0)
            self._schedule_left_s = self._rng.uniform(low, high)
        self._release_request(dt_s)
        request = int(self.settings["mode_request"])
        if request == 1:
            return OFF
        if self._starting_left_s > 0:
            self._starting_left_s -= dt_s
            return STARTING
        if request in (RUN, ECO):
            return request
        if "mode_switch" in self._active:
            return RUN + ECO - self._schedule_mode
        return self._schedule_mode

    def _release_request(self, dt_s: float) -> None:
        if self.settings["mode_request"] == 0:
            self._request_s = 0.0
            return
        self._request_s += dt_s
        if self._request_s >= HOLD_S:
            self.settings["mode_request"] = 0.0
