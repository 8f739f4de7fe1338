"""Driving the update block: performs the steps that `edge.core.update` decides."""

import logging

from msgspec import Struct

from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import UpdateState, version_text
from contract.telemetry import Quality
from edge.adapters.clock import Clock
from edge.adapters.device import Device
from edge.core import orders, update

log = logging.getLogger(__name__)

PAUSE_S = 1.0
WRITE_TRIES = 3


class Installed(Struct, frozen=True):
    """What became of an update."""

    confirmed: bool
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
    while True:
        match step:
            case update.Send():
                reason = await _send(device, plan.block, step, clock)
            case update.Wait():
                await clock.sleep(PAUSE_S)
            case update.CheckTrial():
                number, proper = await _try(device, shown)
                transfer, step = update.tried(
                    transfer, number, proper=proper, now_ns=clock.elapsed_ns()
                )
                continue
            case update.Finished():
                break
            case update.Broken(why):
                reason = why
                break
        if reason:
            break
        state = await _state(device, plan.block)
        transfer, step = update.advance(transfer, state, clock.elapsed_ns())
    if reason:
        log.warning("%s: update to %s: %s", device.name, plan.release.version, reason)
    state = await _settle(device, plan.block, clock)
    version = await _version(device)
    confirmed = version == plan.release.version and state is UpdateState.CONFIRMED
    if not confirmed and not reason:
        reason = f"the device runs {version or 'an unknown version'} in the end"
    return Installed(confirmed, version, "" if confirmed else reason)


async def _send(device: Device, block: int, step: update.Send, clock: Clock) -> str:
    """Write a step's words in order; return why that failed, or nothing.

    A write whose reply was lost is repeated. If the device refuses the repetition, it took the
    first one; the check of the whole image has the last word anyway.
    """
    for offset, words in step.writes:
        lost = ""
        for _ in range(WRITE_TRIES):
            try:
                await device.write_words(block + offset, words)
            except Refused as error:
                if not lost:
                    return f"the device refuses to be updated: {error}"
            except Unreachable as error:
                lost = str(error)
                if not step.once:
                    await clock.sleep(PAUSE_S)
                    continue
            lost = ""
            break
        if lost:
            return f"the device stopped answering: {lost}"
    return ""


async def _state(device: Device, block: int) -> UpdateState | None:
    try:
        return await device.read_update_state(block)
    except (Unreachable, Refused):
        return None


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
    state = await _state(device, block)
    while state in (None, UpdateState.TRIAL) and clock.elapsed_ns() < deadline_ns:
        await clock.sleep(PAUSE_S)
        state = await _state(device, block)
    return state


async def _version(device: Device) -> str:
    name = device.machine.firmware_signal or ""
    try:
        number = (await device.read_values([name])).get(name)
        return "" if number is None else version_text(number)
    except (Unreachable, Malformed):
        return ""
