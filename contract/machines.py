"""Machine types as data: one TOML file each in ``contract/machines/``.

A machine type says which signals a machine has and where they stand in its registers, which
commands it takes within which bounds, and which faults it is known for: their symptoms, the
remedies that may cure them remotely, and what a visit needs when they do not.

Register maps use the words of Telegraf's Modbus input: ``register``, ``address`` (zero-based),
``type``, ``byte_order``, ``scale``.
"""

import tomllib
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contract.commands import Precondition
from contract.errors import Malformed
from contract.faults import Direction, Severity
from contract.telemetry import Name
from contract.tickets import Part

Text = Annotated[str, Meta(min_length=1, max_length=500)]


RESERVED = frozenset({"quality", "score", "alarm", "time", "device", "site"})
"""Names that no signal may have: they stand beside the signals in the time-series store."""


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a machine type's file: a field that is not known is a typing error."""


class Role(StrEnum):
    """What a signal means to detection."""

    RESPONSE = "response"
    """Follows from the machine's state: judged."""
    DRIVER = "driver"
    """Given from outside (setting, load, ambient): explains the responses, is not judged."""
    MODE = "mode"
    """Names the operating mode: a small whole number."""
    INFO = "info"
    """Counters and versions: kept, not judged."""


class RegisterKind(StrEnum):
    """Which Modbus table."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"


class RegisterType(StrEnum):
    """How the words of a value are read."""

    BIT = "BIT"
    INT16 = "INT16"
    UINT16 = "UINT16"
    INT32 = "INT32"
    UINT32 = "UINT32"
    FLOAT32 = "FLOAT32"


class ByteOrder(StrEnum):
    """Order of the bytes of a value; A is the most significant. 16-bit types use the first two."""

    ABCD = "ABCD"
    DCBA = "DCBA"
    BADC = "BADC"
    CDAB = "CDAB"


class Register(_Table, frozen=True, kw_only=True):
    """Where a value stands, and how to read it."""

    register: RegisterKind
    address: Annotated[int, Meta(ge=0, le=65535)]
    type: RegisterType = RegisterType.UINT16
    byte_order: ByteOrder = ByteOrder.ABCD
    scale: float = 1.0
    """Value in its unit = raw number x scale."""
    invalid: int | None = None
    """Raw number (unsigned, as on the wire) by which the device says "no valid value"."""

    @property
    def words(self) -> int:
        """Registers that the value takes."""
        return (
            2 if self.type in (RegisterType.INT32, RegisterType.UINT32, RegisterType.FLOAT32) else 1
        )


class Signal(_Table, frozen=True, kw_only=True):
    """One measured or set value."""

    name: Name
    title: Text
    unit: Annotated[str, Meta(max_length=20)]
    range: tuple[float, float]
    """Plausible values; outside, a reading is of uncertain quality."""
    role: Role = Role.RESPONSE
    modbus: Register | None = None
    modes: dict[str, str] = {}
    """For role ``mode``: raw number to name, for people."""
    judged_modes: list[int] = []
    """For role ``mode``: the modes in which responses are judged; empty means all."""
    csv_column: str = ""
    """Name of the signal in recorded files, if other than ``name``."""


class CommandKind(StrEnum):
    """How the edge agent carries a command out."""

    WRITE = "write"
    """Write the argument (or the fixed value) to the register, then read it back."""
    PULSE = "pulse"
    """Write the fixed value to a register that clears itself; ``confirm`` shows the effect."""
    UPDATE_FIRMWARE = "update_firmware"
    """Install a release: through the update block, or by the machine itself over DDI."""
    REVERT_FIRMWARE = "revert_firmware"
    """Boot the version before the last update again, from the other slot."""


ABOUT_FIRMWARE = (CommandKind.UPDATE_FIRMWARE, CommandKind.REVERT_FIRMWARE)


class Argument(_Table, frozen=True, kw_only=True):
    """Bounds of a command's argument."""

    unit: str
    minimum: float
    maximum: float


class Confirm(_Table, frozen=True, kw_only=True):
    """How a pulse shows that it worked: the signal must change so within the time."""

    signal: Name
    increases: bool = False
    equals: float | None = None
    within_s: Annotated[float, Meta(gt=0, le=3600)]


class CommandSpec(_Table, frozen=True, kw_only=True):
    """A command that the machine takes."""

    name: Name
    title: Text
    kind: CommandKind
    modbus: Register | None = None
    argument: Argument | None = None
    value: float | None = None
    precondition: Precondition | None = None
    confirm: Confirm | None = None
    high_risk: bool = False
    """A person must approve it unless the playbook runs in mode ``auto``."""


class Remedy(_Table, frozen=True, kw_only=True):
    """A command with its argument, meant to cure something, and how long the cure takes to show."""

    name: Name
    title: Text
    command: Name
    argument: float | None = None
    settle_s: Annotated[float, Meta(ge=0, le=86400)]
    """Evidence counts only from this long after the command ended."""
    verify_s: Annotated[float, Meta(gt=0, le=86400)]
    """How long to watch, after settling, for positive evidence of recovery."""


class CheckKind(StrEnum):
    """Data-quality checks that name their fault directly."""

    STUCK = "stuck"
    """The signal's number does not change although its neighbours do."""
    RANGE = "range"
    """The signal lies outside its plausible range, or the device marks it invalid."""
    DRIFTED = "drifted"
    """The signal leaves its reference alone: nothing that would follow a real change does."""
    LOOSE = "loose"
    """Single readings jump further than the signal ever steps, and straight back."""
    STALE = "stale"
    """The device's numbers repeat under new times; of no signal but of the whole device."""


class Symptom(_Table, frozen=True, kw_only=True):
    """How one signal deviates under a fault; weight is its share of the picture."""

    signal: Name
    direction: Direction
    weight: Annotated[float, Meta(gt=0, le=10)] = 1.0


class SensorCheck(_Table, frozen=True, kw_only=True):
    """A data-quality check that is itself the symptom."""

    kind: CheckKind
    signal: Name


class KeySignal(_Table, frozen=True, kw_only=True):
    """A signal by which harm done by a release shows, and which way is worse."""

    signal: Name
    worse: Direction


class FaultSpec(_Table, frozen=True, kw_only=True):
    """A fault that the machine type is known for."""

    code: Name
    title: Text
    severity: Severity
    safety: bool = False
    """Dangerous to people or plant: no remote attempt, straight to a ticket."""
    symptoms: list[Symptom] = []
    check: SensorCheck | None = None
    remedies: list[Name] = []
    """Remedies that may cure it remotely, likeliest first; none means a visit."""
    parts: list[Part] = []
    skills: list[Text] = []
    safety_notes: list[Text] = []
    action: Text = "Inspect the machine."
    """What the technician should do."""


class MachineType(_Table, frozen=True, kw_only=True):
    """All we know of one type of machine."""

    name: Name
    title: Text
    poll_interval_s: Annotated[float, Meta(gt=0, le=3600)]
    signals: list[Signal]
    commands: list[CommandSpec] = []
    remedies: list[Remedy] = []
    faults: list[FaultSpec] = []
    firmware_block: Annotated[int, Meta(ge=0, le=65000)] | None = None
    """First holding register of the update block (see `contract.firmware`)."""
    firmware_signal: Name | None = None
    """Signal that shows the running firmware's version number."""
    ddi: bool = False
    """Machines of this type fetch releases themselves, as Eclipse hawkBit's DDI clients do."""
    boot_count_signal: Name | None = None
    key_signals: list[KeySignal] = []
    """Compared, beside the score, between machines with and without a new release."""

    def signal(self, name: str) -> Signal | None:
        """Return the signal of that name, if there is one."""
        return next((s for s in self.signals if s.name == name), None)

    def command(self, name: str) -> CommandSpec | None:
        """Return the command of that name, if there is one."""
        return next((c for c in self.commands if c.name == name), None)

    def remedy(self, name: str) -> Remedy | None:
        """Return the remedy of that name, if there is one."""
        return next((r for r in self.remedies if r.name == name), None)

    def fault(self, code: str) -> FaultSpec | None:
        """Return the fault of that code, if there is one."""
        return next((f for f in self.faults if f.code == code), None)

    def with_role(self, role: Role) -> list[Signal]:
        """Return the signals of one role, in the order of the file."""
        return [s for s in self.signals if s.role is role]


def parse(text: str, source: str) -> MachineType:
    """Read a machine type's TOML and check that its parts fit together.

    Raises:
        Malformed: names the source and the field, and says what is wrong with it.
    """
    try:
        machine = msgspec.convert(tomllib.loads(text), MachineType)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"{source}: {error}") from error
    problems = list(_problems(machine))
    if problems:
        raise Malformed(f"{source}: " + "; ".join(problems))
    return machine


def library(folder: Path | None = None) -> dict[str, MachineType]:
    """Return machine types by name: those that ship with Farfix, and those of a folder of yours.

    Args:
        folder: holds one ``NAME.toml`` for each type; one that ships is replaced by its namesake.

    Raises:
        Malformed: the folder cannot be read, or a file of it is wrong.
    """
    shipped = resources.files("contract").joinpath("machines")
    found = _types(shipped, "contract/machines")
    if folder is not None:
        try:
            found += _types(folder, str(folder))
        except (OSError, UnicodeDecodeError) as error:
            raise Malformed(f"machine types in {folder} cannot be read: {error}") from error
    return {machine.name: machine for machine in found}


def _types(folder: Traversable, name: str) -> list[MachineType]:
    return [
        parse(entry.read_text(), f"{name}/{entry.name}")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    ]


def _problems(m: MachineType) -> list[str]:
    return [*_name_problems(m), *_command_problems(m), *_remedy_problems(m), *_fault_problems(m)]


def _name_problems(m: MachineType) -> list[str]:
    found = []
    for kind, names in (
        ("signal", [s.name for s in m.signals]),
        ("command", [c.name for c in m.commands]),
        ("remedy", [r.name for r in m.remedies]),
        ("fault", [f.code for f in m.faults]),
    ):
        found += [f"{kind} {name} is given twice" for name in set(names) if names.count(name) > 1]
    found += [f"signal {s.name}: the name is reserved" for s in m.signals if s.name in RESERVED]
    found += [
        f"signal {s.name}: range {s.range} is empty" for s in m.signals if s.range[0] >= s.range[1]
    ]
    key = [k.signal for k in m.key_signals]
    for field in (m.firmware_signal, m.boot_count_signal, *key):
        if field is not None and m.signal(field) is None:
            found.append(f"there is no signal {field}")
    if m.ddi and m.firmware_block is not None:
        found.append("ddi and firmware_block: updates go one way only")
    return found


def _command_problems(m: MachineType) -> list[str]:
    found = []
    for c in m.commands:
        if (c.kind in ABOUT_FIRMWARE) != (c.modbus is None):
            found.append(f"command {c.name}: write and pulse need modbus, firmware has none")
        if c.kind in ABOUT_FIRMWARE and m.firmware_block is None and not m.ddi:
            found.append(f"command {c.name}: the machine type has neither firmware_block nor ddi")
        if c.kind is CommandKind.PULSE and (c.confirm is None or c.value is None):
            found.append(f"command {c.name}: a pulse needs value and confirm")
        if c.kind is CommandKind.WRITE and (c.argument is None) == (c.value is None):
            found.append(f"command {c.name}: a write needs either argument or value")
        signals = [part.signal for part in (c.precondition, c.confirm) if part is not None]
        found += [f"command {c.name}: there is no signal {s}" for s in signals if not m.signal(s)]
    return found


def _remedy_problems(m: MachineType) -> list[str]:
    found = []
    for r in m.remedies:
        command = m.command(r.command)
        if command is None:
            found.append(f"remedy {r.name}: there is no command {r.command}")
        elif command.argument is not None and (
            r.argument is None
            or not command.argument.minimum <= r.argument <= command.argument.maximum
        ):
            found.append(f"remedy {r.name}: argument {r.argument} is outside the command's bounds")
    return found


def _fault_problems(m: MachineType) -> list[str]:
    found = []
    for f in m.faults:
        if not f.symptoms and f.check is None:
            found.append(f"fault {f.code}: give symptoms or a check")
        signals = [s.signal for s in f.symptoms] + ([f.check.signal] if f.check else [])
        found += [f"fault {f.code}: there is no signal {s}" for s in signals if m.signal(s) is None]
        found += [
            f"fault {f.code}: there is no remedy {r}" for r in f.remedies if m.remedy(r) is None
        ]
    return found
