"""Carrying a plan out on a device. Whatever happens becomes an outcome with a reason."""

from collections.abc import Awaitable, Callable
from typing import assert_never

from msgspec import Struct

from contract.commands import AnswerStatus
from contract.errors import Refused, Unreachable
from contract.firmware import UpdateState
from contract.telemetry import Quality, Reading
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.releases import NotFetched, Releases, Verified
from edge.agent import installing
from edge.core import compatibility, decode, orders, schedule

READBACK_TRIES = 3
READBACK_PAUSE_S = 1.0
CONFIRM_PAUSE_S = 1.0

Begin = Callable[[], Awaitable[bool]]
"""Writes down that the command acts from now on; false when it has expired meanwhile."""


class Outcome(Struct, frozen=True):
    """How a command ended: the part of an answer that is not known beforehand."""

    status: AnswerStatus
    reason: str = ""
    readback: dict[str, float | None] = {}
    firmware: str = ""


class _Ready(Struct, frozen=True):
    """All that must be known and held before acting."""

    before: Reading
    verified: Verified | None = None


async def carry_out(
    device: Device, order: orders.Execute, begin: Begin, clock: Clock, releases: Releases
) -> Outcome:
    """Look at the device, begin, act, and look again."""
    ready = await _prepare(device, order, clock, releases)
    if isinstance(ready, Outcome):
        return ready
    if not await begin():
        return Outcome(AnswerStatus.EXPIRED, "expired while it waited for its turn")
    match order.plan:
        case orders.Write() as plan:
            return await _write(device, plan, clock)
        case orders.Pulse() as plan:
            return await _pulse(device, plan, ready.before.values[plan.confirm.signal], clock)
        case orders.Install() as plan:
            return await _install(device, plan, ready, clock)
        case orders.Revert() as plan:
            gone_back = await installing.revert(device, plan, clock)
            return Outcome(gone_back.status, gone_back.reason, firmware=gone_back.version)
        case _ as never:
            assert_never(never)


async def _prepare(
    device: Device, order: orders.Execute, clock: Clock, releases: Releases
) -> _Ready | Outcome:
    """Fetch and look; nothing here changes the device."""
    plan, verified = order.plan, None
    try:
        if isinstance(plan, orders.Install):
            verified = await releases.fetch(plan.release)
        before = await _look(device, order, clock)
        if await _runs_already(device, plan, verified, before):
            version = device.version(before.values)
            return Outcome(AnswerStatus.DONE, "it runs already", firmware=version)
    except Refused as error:
        return Outcome(AnswerStatus.REFUSED, str(error))
    except NotFetched as error:
        return Outcome(AnswerStatus.FAILED, f"nothing was done: {error}")
    except Unreachable as error:
        return Outcome(AnswerStatus.UNREACHABLE, str(error))
    if reason := orders.unmet(order.preconditions, before.values):
        return Outcome(AnswerStatus.REFUSED, reason, before.values)
    return _Ready(before, verified)


async def _runs_already(
    device: Device, plan: orders.Plan, verified: Verified | None, before: Reading
) -> bool:
    """Tell whether the version that shall run does so.

    Raises:
        Refused: it must not run on this device.
        Unreachable: the device did not answer.
    """
    if verified is not None:
        hardware = await device.read_hardware()
        return not compatibility.needs_install(
            verified.release, device.version(before.values), hardware
        )
    return isinstance(plan, orders.Revert) and plan.version == device.version(before.values)


async def _look(device: Device, order: orders.Execute, clock: Clock) -> Reading:
    """Read what must be known before acting; shows also that the device answers at all."""
    if isinstance(order.plan, orders.Install | orders.Revert):
        if await device.read_update_state(order.plan.block) is UpdateState.TRIAL:
            await installing.settle(device, order.plan.block, clock)
        return await device.read_tick()
    names = {precondition.signal for precondition in order.preconditions}
    if isinstance(order.plan, orders.Pulse):
        names.add(order.plan.confirm.signal)
    else:
        await device.read_register(order.plan.register)
    return Reading(0, await device.read_values(names), {})


async def _write(device: Device, plan: orders.Write, clock: Clock) -> Outcome:
    try:
        await device.write(plan.register, plan.value)
        note = ""
    except Refused as error:
        return Outcome(AnswerStatus.REFUSED, f"the device refuses the value: {error}")
    except Unreachable as error:
        note = f"; the write itself was not answered: {error}"
    read: float | None = None
    for _ in range(READBACK_TRIES):
        try:
            read = await device.read_register(plan.register)
        except (Refused, Unreachable) as error:
            note = f"; read-back failed: {error}"
        if decode.agrees(plan.register, plan.value, read):
            return Outcome(AnswerStatus.DONE, readback={"value": read})
        await clock.sleep(READBACK_PAUSE_S)
    shown = "nothing" if read is None else f"{read:g}"
    reason = f"wrote {plan.value:g}, read back {shown}{note}"
    return Outcome(AnswerStatus.FAILED, reason, {"value": read})


async def _pulse(device: Device, plan: orders.Pulse, before: float | None, clock: Clock) -> Outcome:
    signal = plan.confirm.signal
    try:
        await device.write(plan.register, plan.value)
    except Refused as error:
        return Outcome(AnswerStatus.REFUSED, f"the device refuses: {error}")
    except Unreachable:
        pass  # it may restart before it answers; the confirming signal decides
    deadline_ns = clock.elapsed_ns() + int(plan.confirm.within_s * 1e9)
    read, note = before, ""
    late = False
    pause_s = CONFIRM_PAUSE_S
    while not late:
        await clock.sleep(pause_s)
        late = clock.elapsed_ns() > deadline_ns
        try:
            read = (await device.read_values([signal]))[signal]
            note, pause_s = "", CONFIRM_PAUSE_S
        except Unreachable as error:
            note = f"; {error}"
            timeout_s = clock.plant_ns(device.bus.timeout_s) / 1e9
            pause_s = schedule.pause_s(timeout_s, plan.confirm.within_s / 10)
            continue
        if orders.confirmed(plan.confirm, before, read):
            return Outcome(AnswerStatus.DONE, readback={signal: read})
    shown = "nothing" if read is None else f"{read:g}"
    reason = f"{signal} reads {shown} after {plan.confirm.within_s:g} s, as if nothing happened"
    return Outcome(AnswerStatus.FAILED, reason + note, {signal: read})


async def _install(device: Device, plan: orders.Install, ready: _Ready, clock: Clock) -> Outcome:
    if ready.verified is None:
        raise TypeError("an update without a verified release: a bug")
    shown = {name for name, q in ready.before.quality.items() if q <= Quality.UNCERTAIN}
    installed = await installing.install(device, plan.block, ready.verified, shown, clock)
    return Outcome(installed.status, installed.reason, firmware=installed.version)
