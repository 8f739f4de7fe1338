"""Playbooks: which remedies, in which order, for which fault, and how much without a person.

One TOML file per machine type in a folder, and beside them ``service.toml``, the service's policy:
deadlines by tier and severity, the fleet's limits, and how long a case watches and waits. The
shipped ones are in ``cloud/playbooks``.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct, structs

from cloud.core import levels, sensors, service_hours
from cloud.core.levels import ROUND_THE_CLOCK, Level
from cloud.core.limits import Limits
from cloud.core.service_hours import Calendar
from cloud.core.states import Diagnosis, Mode, Plan, Step, Timing
from contract.errors import Malformed
from contract.faults import FIRMWARE_UNCLEAR, NO_DATA, UNKNOWN, Deviation, Hypothesis, Severity
from contract.machines import FaultSpec, MachineType
from contract.telemetry import Name
from contract.tickets import EscalationReason, FailedCheck, Finding

Tier = Literal["A", "B", "C"]
"""How urgent a customer's machines are, the most urgent first."""
CalendarName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
Share = Annotated[float, Meta(gt=0, le=1)]

SERVICE_FILE = "service.toml"


_TITLES: dict[str, str] = {
    NO_DATA: "The machine has gone silent",
    FIRMWARE_UNCLEAR: "A firmware update ended unclear",
    Finding.NO_FAULT_FOUND: "Looks like earlier wrong alarms",
}
_SEVERITIES: dict[str, Severity] = {Finding.NO_FAULT_FOUND: Severity.LOW}
"""A likely wrong alarm still wants a person's word, but nobody is called out at night for it."""


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a playbook file: a field that is not known is a typing error."""


class Policy(_Table, frozen=True, kw_only=True):
    """What holds for all machine types: ``service.toml``."""

    consider_share: Share = 0.25
    """Remedies of a further hypothesis are planned if it is at least so probable."""
    safety_share: Share = 0.4
    """A dangerous hypothesis at least so probable makes the case unsafe ..."""
    safety_sigmas: Annotated[float, Meta(ge=0, le=100)] = 4.0
    """... if its heaviest symptom itself deviates so far: no danger is made of a faint pattern."""
    levels: dict[Tier, Level]
    calendars: dict[CalendarName, Calendar] = {}
    limits: Limits = Limits()
    timing: Timing = Timing()

    @property
    def on_site_lead_h(self) -> dict[Tier, float]:
        """By tier: hours that a visit takes from the ticket to the running machine."""
        return {tier: level.on_site_lead_h for tier, level in self.levels.items()}


class Entry(_Table, frozen=True, kw_only=True):
    """What to try for one fault."""

    fault: Name
    remedies: Annotated[list[Name], Meta(min_length=1, max_length=10)]
    mode: Mode | None = None
    """Instead of the file's mode."""


class Default(_Table, frozen=True, kw_only=True):
    """What to try when no known fault explains what is seen."""

    remedies: Annotated[list[Name], Meta(min_length=1, max_length=3)]
    mode: Mode | None = None


class Playbook(_Table, frozen=True, kw_only=True):
    """One machine type's file."""

    machine_type: Name
    mode: Mode = Mode.SUGGEST
    faults: list[Entry] = []
    default: Default | None = None


class Playbooks(Struct, frozen=True):
    """All playbooks of a gateway, by machine type, and the policy."""

    policy: Policy
    by_machine_type: dict[str, Playbook]


def shipped(machines: Mapping[str, MachineType]) -> Playbooks:
    """Return the playbooks that come with Farfix."""
    return load(resources.files("cloud").joinpath("playbooks"), machines)


def load(folder: Traversable, machines: Mapping[str, MachineType]) -> Playbooks:
    """Read a folder of playbooks; a `pathlib.Path` will do.

    Raises:
        Malformed: names every file and field that is wrong, and what would be right.
    """
    texts = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }
    if SERVICE_FILE not in texts:
        raise Malformed(f"{folder}: {SERVICE_FILE} is missing; copy the shipped one and adapt it")
    policy, found = Policy(levels={}), dict[str, Playbook]()
    problems: list[str] = []
    for name, text in texts.items():
        try:
            if name == SERVICE_FILE:
                policy = _read(text, Policy)
                problems += [f"{name}: {p}" for p in _policy_problems(policy)]
                continue
            book = _read(text, Playbook)
        except Malformed as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [f"{name}: {p}" for p in _book_problems(book, machines)]
        if book.machine_type in found:
            problems.append(f"{name}: machine_type {book.machine_type} has a file already")
        found[book.machine_type] = book
    if problems:
        raise Malformed(f"playbooks in {folder}:\n  " + "\n  ".join(problems))
    return Playbooks(policy, found)


T = TypeVar("T", Policy, Playbook)


def _read(text: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Malformed(str(error)) from error


def _policy_problems(policy: Policy) -> list[str]:
    found = []
    for name, calendar in policy.calendars.items():
        found += [f"calendars.{name}.{said}" for said in service_hours.problems(calendar)]
        if name == ROUND_THE_CLOCK:
            found.append(f"calendars.{name}: the name is taken, it needs no table")
    for tier in get_args(Tier):
        level = policy.levels.get(tier)
        if level is None:
            found.append(f"levels.{tier} is missing")
        elif not found:
            problems = levels.problems(level, policy.calendars)
            found += [f"levels.{tier}.{said}" for said in problems]
    return found


def _book_problems(book: Playbook, machines: Mapping[str, MachineType]) -> list[str]:
    machine = machines.get(book.machine_type)
    if machine is None:
        return [f"machine_type {book.machine_type!r} is unknown; known: {', '.join(machines)}"]
    found = []
    for i, entry in enumerate(book.faults):
        fault = machine.fault(entry.fault)
        if fault is None:
            known = ", ".join(f.code for f in machine.faults)
            found.append(f"faults[{i}].fault {entry.fault!r} is unknown; known: {known}")
            continue
        strange = [r for r in entry.remedies if r not in fault.remedies]
        if strange:
            allowed = ", ".join(fault.remedies) or "none, it needs a visit"
            found.append(
                f"faults[{i}].remedies: {', '.join(strange)} not among the machine type's remedies "
                f"for {entry.fault} ({allowed})"
            )
        if fault.safety:
            found.append(f"faults[{i}]: {entry.fault} is a safety fault, it has no remote remedy")
    codes = [entry.fault for entry in book.faults]
    found += [f"faults: {code} is given twice" for code in set(codes) if codes.count(code) > 1]
    for name in book.default.remedies if book.default else []:
        remedy = machine.remedy(name)
        command = machine.command(remedy.command) if remedy else None
        if command is None:
            found.append(f"default.remedies: there is no remedy {name}")
        elif command.high_risk:
            found.append(f"default.remedies: {name} is high-risk, too much for an unknown fault")
    return found


def diagnosis(
    machine: MachineType,
    hypotheses: list[Hypothesis],
    deviations: list[Deviation],
    checks: list[FailedCheck],
    policy: Policy,
) -> Diagnosis:
    """Sum up ranked hypotheses, the likeliest first; none at all counts as unknown."""
    ranked = hypotheses or [Hypothesis(UNKNOWN, 1.0, [])]
    top = machine.fault(ranked[0].fault)
    dangers = [
        spec
        for h in ranked
        if (spec := machine.fault(h.fault))
        and spec.safety
        and (h is ranked[0] or h.probability >= policy.safety_share)
        and _apparent(spec, deviations, policy.safety_sigmas)
    ]
    spec = dangers[0] if dangers else top
    return Diagnosis(
        fault=spec.code if spec else ranked[0].fault,
        title=spec.title if spec else _title(machine, ranked[0].fault, deviations, checks),
        severity=spec.severity if spec else _SEVERITIES.get(ranked[0].fault, Severity.MEDIUM),
        safety=bool(dangers),
        hypotheses=ranked,
        deviations=deviations,
        checks=checks,
    )


def _title(
    machine: MachineType, code: str, deviations: list[Deviation], checks: list[FailedCheck]
) -> str:
    """Return a title for what the fault table does not have."""
    if code in (NO_DATA, UNKNOWN) and sensors.alone(deviations, checks):
        return sensors.title(machine, checks)
    return _TITLES.get(code, "Unknown fault")


def _apparent(spec: FaultSpec, deviations: list[Deviation], sigmas: float) -> bool:
    """Tell whether the fault's heaviest symptom is plainly there; a failing check always is."""
    if not spec.symptoms:
        return True
    key = max(spec.symptoms, key=lambda symptom: symptom.weight)
    return any(
        d.signal == key.signal and d.direction is key.direction and d.sigmas >= sigmas
        for d in deviations
    )


def plan(
    machine: MachineType,
    tier: Tier,
    found: Diagnosis,
    playbooks: Playbooks,
    now_ns: int,
    *,
    zone: str = "UTC",
    mode_override: Mode | None = None,
) -> Plan:
    """Plan what to try: the top hypothesis' remedies, then those of others that are likely.

    Args:
        machine: the machine's type.
        tier: of its customer.
        found: what is wrong with it.
        playbooks: all of the gateway.
        now_ns: when the fault was first seen, in plant time.
        zone: time zone of its site.
        mode_override: instead of the playbook's mode.
    """
    policy, timing = playbooks.policy, playbooks.policy.timing
    book = playbooks.by_machine_type.get(machine.name, Playbook(machine_type=machine.name))
    steps, modes = _steps(machine, book, found, policy)
    level, calendars = policy.levels[tier], policy.calendars
    promise = levels.promise(tier, level, calendars, (found.severity, now_ns), zone)
    silent = found.fault == NO_DATA
    reason, detail = (None, "") if steps else _no_remote(machine, found)
    return Plan(
        playbook=f"{machine.name}/{found.fault}",
        mode=mode_override or min(modes, key=list(Mode).index, default=book.mode),
        steps=steps,
        timing=timing,
        observe_s=_observe_s(timing, silent=silent, remote=bool(steps)),
        no_remote=reason,
        no_remote_detail=detail,
        **structs.asdict(promise),
    )


def _observe_s(timing: Timing, *, silent: bool, remote: bool) -> float:
    if silent:
        return timing.silent_observe_s
    return timing.observe_s if remote else timing.visit_observe_s


def _steps(
    machine: MachineType, book: Playbook, found: Diagnosis, policy: Policy
) -> tuple[list[Step], list[Mode]]:
    """Return the steps without repetition, and the modes of the entries that they come from."""
    entries = {entry.fault: entry for entry in book.faults}
    steps: dict[str, Step] = {}
    modes = []
    for hypothesis in found.hypotheses:
        top = hypothesis is found.hypotheses[0]
        if not top and hypothesis.probability < policy.consider_share:
            continue
        entry: Entry | Default | None = entries.get(hypothesis.fault)
        if hypothesis.fault == UNKNOWN and top and not _needs_hands(found):
            entry = book.default
        for name in entry.remedies if entry else []:
            if name not in steps and len(steps) < policy.timing.attempts_max:
                steps[name] = step_for(machine, name, hypothesis.fault)
                modes.append((entry.mode if entry else None) or book.mode)
    return list(steps.values()), modes


def _needs_hands(found: Diagnosis) -> bool:
    return sensors.alone(found.deviations, found.checks) and sensors.hands_on(found.checks)


def step_for(machine: MachineType, name: str, fault: str) -> Step:
    """Return a remedy of a machine type as a step that cures a fault.

    Raises:
        Malformed: the machine type has no such remedy.
    """
    remedy = machine.remedy(name)
    command = machine.command(remedy.command) if remedy else None
    if remedy is None or command is None:
        raise Malformed(f"{machine.name} has no remedy {name}; load the playbooks again")
    return Step(
        remedy=remedy.name,
        title=remedy.title,
        command=remedy.command,
        argument=remedy.argument,
        settle_s=remedy.settle_s,
        verify_s=remedy.verify_s,
        fault=fault,
        high_risk=command.high_risk,
    )


def _no_remote(machine: MachineType, found: Diagnosis) -> tuple[EscalationReason, str]:
    if found.fault == NO_DATA and found.checks:
        said = " ".join(sensors.sentence(machine, c) for c in found.checks)
        return (
            EscalationReason.DEVICE_UNREACHABLE,
            f"What the machine sends is old, so nothing can be tried or proven remotely. {said}",
        )
    if found.fault == NO_DATA:
        return (
            EscalationReason.DEVICE_UNREACHABLE,
            "Nothing has been heard from the machine, so nothing can be tried remotely.",
        )
    if found.fault == Finding.NO_FAULT_FOUND:
        detail = "Earlier alarms that looked like this were wrong ones; a person should judge it."
    elif found.fault == UNKNOWN and _needs_hands(found):
        detail = f"{found.title}: the sensor or its wire needs hands on site."
    elif found.fault == FIRMWARE_UNCLEAR:
        said = " ".join(found.hypotheses[0].evidence)
        detail = f"Nobody's word tells what the machine runs, so a person must look. {said}"
    elif machine.fault(found.fault) is None:
        detail = "No known fault explains what is seen, and no remedy is given for that."
    else:
        detail = f"{found.title}: no remedy is given for it, it needs hands on site."
    return EscalationReason.NOT_REMOTABLE, detail
