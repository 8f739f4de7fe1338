"""Driving the update block: performs the steps that `edge.core.update` decides."""

import logging

from msgspec import Struct

from contract.commands import AnswerStatus
from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import UpdateState, version_text
from contract.telemetry import Quality
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.core import orders, schedule, update

log = logging.getLogger(__name__)

PAUSE_S = 1.0
SILENT_PAUSE_MAX_S = 10.0
WRITE_TRIES = 3


class Installed(Struct, frozen=True):
    """What became of an update."""

    status: AnswerStatus
    version: str
    """Read from the device at the end; empty when it does not answer."""
    reason: str


async def install(
    device: Device, plan: orders.Install, image: bytes, shown: set[str], clock: Clock
) -> Installed:
    """Send a verified image, boot it on trial, and confirm it if it does its work.

    Args:
        device: where to.
        plan: the release and the address of the update block.
        image: checked against the release.
        shown: signals that the running version can be read for.
        clock: plant time.
    """
    transfer, step = update.start(plan.release, image, clock.elapsed_ns())
    reason = ""
    try:
        while not isinstance(step, update.Finished | update.Broken):
            transfer, step = await _perform(
                device, plan.block, transfer, step, shown=shown, clock=clock
            )
        if isinstance(step, update.Broken):
            reason = step.reason
        state = await _settle(device, plan.block, clock)
    except Refused as error:
        reason, state = f"the device refuses to be updated: {error}", None
    except Unreachable as error:
        reason, state = f"the device stopped answering: {error}", None
    version = await _version(device)
    if version == plan.release.version and state is UpdateState.CONFIRMED:
        return Installed(AnswerStatus.DONE, version, "")
    reason = reason or f"the device runs {version or 'an unknown version'} in the end"
    log.warning("%s: update to %s: %s", device.name, plan.release.version, reason)
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


async def _settle(device: Device, block: int, clock: Clock) -> UpdateState | None:
    """Wait until the device has made up its mind: an unconfirmed trial falls back by itself."""
    deadline_ns = clock.elapsed_ns() + int(update.PATIENCE_S[update.Phase.BOOTING] * 1e9)
    state = await _state(device, block, clock)
    while state in (None, UpdateState.TRIAL) and clock.elapsed_ns() < deadline_ns:
        await clock.sleep(PAUSE_S)
        state = await _state(device, block, clock)
    return state


async def _version(device: Device) -> str:
    name = device.machine.firmware_signal or ""
    try:
        number = (await device.read_values([name])).get(name)
        return "" if number is None else version_text(number)
    except (Unreachable, Malformed):
        return ""
