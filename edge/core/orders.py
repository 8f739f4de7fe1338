"""What to do with a command: nothing, the same answer again, or one of four plans.

Everything that can be known before the device is touched is judged here; what only the device
knows (is the precondition met?) is a question that the plan carries along.
"""

import math
from collections.abc import Mapping

from msgspec import Struct

from contract.commands import Answer, Command, Precondition
from contract.errors import Malformed
from contract.firmware import ReleaseRef
from contract.machines import (
    ABOUT_FIRMWARE,
    CommandKind,
    CommandSpec,
    Confirm,
    MachineType,
    Register,
    RegisterKind,
)
from edge.core import decode

MAX_LIFETIME_S = 7 * 86400
"""A command that stays valid longer than this is a mistake; ids are remembered as long."""


class Write(Struct, frozen=True):
    """Write a value, given in its unit, and read it back."""

    register: Register
    value: float


class Pulse(Struct, frozen=True):
    """Write a value to a register that clears itself and wait for the effect."""

    register: Register
    value: float
    confirm: Confirm


class Install(Struct, frozen=True):
    """Send a firmware release through the update block at ``block``."""

    release: ReleaseRef
    block: int


class Revert(Struct, frozen=True):
    """Have the bootloader boot what ran before the last update."""

    version: str
    """What must run then."""
    block: int


Plan = Write | Pulse | Install | Revert


class Refuse(Struct, frozen=True):
    """Do not act; it would never be right."""

    reason: str


class Expire(Struct, frozen=True):
    """Do not act; it came too late."""

    reason: str


class Repeat(Struct, frozen=True):
    """The command has been answered: give the same answer again."""

    answer: Answer


class Execute(Struct, frozen=True):
    """Act, if the device meets all preconditions."""

    plan: Plan
    preconditions: tuple[Precondition, ...]


Decision = Refuse | Expire | Repeat | Execute


def decide(
    command: Command, machine: MachineType, remembered: Answer | None, now_ns: int
) -> Decision:
    """Judge a command for a device of this machine type.

    Args:
        command: what the gateway asks for.
        machine: the device's type.
        remembered: the answer already given to a command of this id.
        now_ns: plant time.
    """
    if remembered is not None:
        return Repeat(remembered)
    if now_ns >= command.expires_ns:
        return Expire(f"came {(now_ns - command.expires_ns) / 1e9:.1f} s after it expired")
    if command.expires_ns - now_ns > MAX_LIFETIME_S * 1e9:
        return Refuse(f"expires later than {MAX_LIFETIME_S // 86400} days from now")
    try:
        return _execution(command, machine)
    except Malformed as error:
        return Refuse(str(error))


def unmet(preconditions: tuple[Precondition, ...], values: Mapping[str, float | None]) -> str:
    """Say which precondition the device does not meet; empty when it meets all."""
    for precondition in preconditions:
        value = values.get(precondition.signal)
        if not precondition.holds(value):
            return f"precondition not met: {precondition.signal} reads {_shown(value)}"
    return ""


def confirmed(confirm: Confirm, before: float | None, now: float | None) -> bool:
    """Tell whether a pulse has shown its effect."""
    if now is None:
        return False
    if confirm.increases and (before is None or now <= before):
        return False
    return confirm.equals is None or math.isclose(now, confirm.equals, abs_tol=1e-6)


def _shown(value: float | None) -> str:
    return "nothing valid" if value is None else f"{value:g}"


def _execution(command: Command, machine: MachineType) -> Execute:
    """Plan a command.

    Raises:
        Malformed: it asks for something that the machine type does not have or allow.
    """
    spec = machine.command(command.name)
    if spec is None:
        raise Malformed(f"machine type {machine.name} has no command {command.name}")
    preconditions = tuple(p for p in (spec.precondition, command.precondition) if p is not None)
    for precondition in preconditions:
        if machine.signal(precondition.signal) is None:
            raise Malformed(f"machine type {machine.name} has no signal {precondition.signal}")
    return Execute(_plan(command, spec, machine), preconditions)


def _plan(command: Command, spec: CommandSpec, machine: MachineType) -> Plan:
    if spec.kind in ABOUT_FIRMWARE:
        return _about_firmware(command, spec, machine)
    if spec.modbus is None or spec.modbus.register not in (RegisterKind.COIL, RegisterKind.HOLDING):
        raise Malformed(f"command {spec.name} has no register that can be written")
    value = _value(command, spec)
    decode.encode(spec.modbus, value)
    if spec.kind is CommandKind.WRITE:
        return Write(spec.modbus, value)
    if spec.confirm is None:
        raise Malformed(f"command {spec.name} has nothing that confirms it")
    return Pulse(spec.modbus, value, spec.confirm)


def _value(command: Command, spec: CommandSpec) -> float:
    """Return what to write: the checked argument, or the fixed value of the machine type."""
    if spec.argument is None:
        if command.argument is not None or spec.value is None:
            raise Malformed(f"command {spec.name} takes no argument")
        return spec.value
    if command.argument is None:
        raise Malformed(f"command {spec.name} needs an argument in {spec.argument.unit}")
    low, high = spec.argument.minimum, spec.argument.maximum
    if not low <= command.argument <= high:
        raise Malformed(
            f"argument {command.argument:g} of {spec.name} is outside "
            f"{low:g} to {high:g} {spec.argument.unit}"
        )
    return command.argument


def _about_firmware(command: Command, spec: CommandSpec, machine: MachineType) -> Install | Revert:
    if command.release is None:
        raise Malformed(f"command {command.name} comes without a release")
    if command.release.machine_type != machine.name:
        raise Malformed(
            f"the release is for {command.release.machine_type}, the device is a {machine.name}"
        )
    if machine.firmware_block is None or machine.firmware_signal is None:
        raise Malformed(f"machine type {machine.name} cannot be updated over Modbus")
    if spec.kind is CommandKind.REVERT_FIRMWARE:
        return Revert(command.release.version, machine.firmware_block)
    return Install(command.release, machine.firmware_block)
