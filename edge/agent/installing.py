"""Driving the update block: performs the steps that `edge.core.update` decides."""

import logging

from msgspec import Struct

from contract.commands import AnswerStatus
from contract.errors import Refused, Unreachable
from contract.firmware import UpdateState
from contract.telemetry import Quality
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.adapters.releases import Verified
from edge.core import orders, schedule, update

log = logging.getLogger(__name__)

PAUSE_S = 1.0
SILENT_PAUSE_MAX_S = 10.0
WRITE_TRIES = 3


class Installed(Struct, frozen=True):
    """What became of an update, or of going back."""

    status: AnswerStatus
    version: str
    """Read from the device at the end; empty when it does not answer."""
    reason: str


async def install(
    device: Device, block: int, verified: Verified, shown: set[str], clock: Clock
) -> Installed:
    """Send a verified image, boot it on trial, and confirm it if it does its work.

    Args:
        device: where to.
        block: address of the update block.
        verified: release and image.
        shown: signals that the running version can be read for.
        clock: plant time.
    """
    release = verified.release
    transfer, step = update.start(release, verified.image, clock.elapsed_ns())
    reason = ""
    try:
        while not isinstance(step, update.Finished | update.Broken):
            transfer, step = await _perform(device, block, transfer, step, shown=shown, clock=clock)
        if isinstance(step, update.Broken):
            reason = step.reason
        state = await settle(device, block, clock)
    except Refused as error:
        reason, state = f"the device refuses to be updated: {error}", None
    except Unreachable as error:
        reason, state = f"the device stopped answering: {error}", None
    version = await _version(device)
    if version == release.version and state is UpdateState.CONFIRMED:
        return Installed(AnswerStatus.DONE, version, "")
    reason = reason or f"the device runs {version or 'an unknown version'} in the end"
    log.warning("%s: update to %s: %s", device.name, release.version, reason)
    return Installed(AnswerStatus.FAILED, version, reason)


async def revert(device: Device, plan: orders.Revert, clock: Clock) -> Installed:
    """Have the device boot what it ran before, and read back what runs then."""
    began_ns = clock.elapsed_ns()
    step: update.Step = update.revert()
    try:
        while not isinstance(step, update.Finished | update.Broken):
            if isinstance(step, update.Send):
                for offset, words in step.writes:
                    await _put(device, plan.block + offset, words, clock, once=step.once)
            await clock.sleep(PAUSE_S)
            state = await _state(device, plan.block, clock)
            step = update.reverted(state, (clock.elapsed_ns() - began_ns) / 1e9)
        reason = step.reason if isinstance(step, update.Broken) else ""
    except Refused as error:
        reason = f"the device refuses to go back: {error}"
    version = await _version(device)
    if version == plan.version and not reason:
        return Installed(AnswerStatus.DONE, version, "")
    reason = reason or f"the device runs {version or 'an unknown version'} in the end"
    log.warning("%s: going back to %s: %s", device.name, plan.version, reason)
    return Installed(AnswerStatus.FAILED, version, reason)


async def _perform(
    device: Device,
    block: int,
    transfer: update.Transfer,
    step: update.Step,
    *,
    shown: set[str],
    clock: Clock,
) -> tuple[update.Transfer, update.Step]:
    """Do one step and return the next."""
    if isinstance(step, update.CheckTrial):
        number, proper = await _try(device, shown)
        return update.tried(transfer, number, proper=proper, now_ns=clock.elapsed_ns())
    if isinstance(step, update.Send):
        for offset, words in step.writes:
            await _put(device, block + offset, words, clock, once=step.once)
    else:
        await clock.sleep(PAUSE_S)
    state = await _state(device, block, clock)
    return update.advance(transfer, state, clock.elapsed_ns())


async def _put(device: Device, address: int, words: list[int], clock: Clock, *, once: bool) -> None:
    """Write words, again if the reply was lost.

    If the device refuses the repetition, it took the first one; the check of the whole image has
    the last word anyway.

    Raises:
        Unreachable: no reply to any attempt.
        Refused: the device said no to the first one.
    """
    for attempt in range(1, WRITE_TRIES + 1):
        try:
            await device.write_words(address, words)
        except Refused:
            if attempt == 1:
                raise
        except Unreachable:
            if once:
                return
            if attempt == WRITE_TRIES:
                raise
            await _leave_alone(device, clock)
            continue
        return


async def _state(device: Device, block: int, clock: Clock) -> UpdateState | None:
    """Read where the bootloader stands; one that does not answer gets a pause."""
    try:
        return await device.read_update_state(block)
    except Unreachable:
        await _leave_alone(device, clock)
        return None


async def _leave_alone(device: Device, clock: Clock) -> None:
    timeout_s = clock.plant_ns(device.bus.timeout_s) / 1e9
    await clock.sleep(schedule.pause_s(timeout_s, SILENT_PAUSE_MAX_S))


async def _try(device: Device, shown: set[str]) -> tuple[float | None, bool]:
    """Read the machine on trial: its version number, and whether it shows what it did before."""
    try:
        tick = await device.read_tick()
    except Unreachable:
        return None, False
    proper = all(tick.quality[name] <= Quality.UNCERTAIN for name in shown)
    return tick.values.get(device.machine.firmware_signal or ""), proper


async def settle(device: Device, block: int, clock: Clock) -> UpdateState | None:
    """Wait until the device has made up its mind: an unconfirmed trial falls back by itself.

    Returns:
        The state; None while the device does not answer.

    Raises:
        Refused: it shows no state that we know.
    """
    deadline_ns = clock.elapsed_ns() + int(update.PATIENCE_S[update.Phase.BOOTING] * 1e9)
    state = await _state(device, block, clock)
    while state in (None, UpdateState.TRIAL) and clock.elapsed_ns() < deadline_ns:
        await clock.sleep(PAUSE_S)
        state = await _state(device, block, clock)
    return state


async def _version(device: Device) -> str:
    try:
        return device.version(await device.read_values([device.machine.firmware_signal or ""]))
    except Unreachable:
        return ""
