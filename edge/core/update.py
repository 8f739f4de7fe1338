"""Sending a firmware release through the update block, one step per state that is read.

    OPENING ─ receiving ─► SENDING ─ all chunks ─► VERIFYING ─ verified ─► BOOTING ─ trial ─► TRIAL
    TRIAL ─ the new version answers properly ─► CONFIRMING ─ confirmed ─► done

Anything else ends the transfer and leaves the device to itself: its bootloader runs the old image
until a new one is confirmed.

Going back is one order, REVERT, and then only to be waited for.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from contract import firmware
from contract.firmware import UpdateControl, UpdateState


class Phase(StrEnum):
    """How far the transfer has come."""

    OPENING = "opening"
    SENDING = "sending"
    VERIFYING = "verifying"
    BOOTING = "booting"
    TRIAL = "trial"
    CONFIRMING = "confirming"


PATIENCE_S = {
    Phase.OPENING: 120.0,
    Phase.SENDING: 120.0,
    Phase.VERIFYING: 120.0,
    Phase.BOOTING: 300.0,
    Phase.TRIAL: 60.0,
    Phase.CONFIRMING: 120.0,
}
"""How long a device may stay in a phase, or silent, without progress."""

_WAITING_IS_FINE = {
    Phase.OPENING: (
        UpdateState.IDLE,
        UpdateState.CONFIRMED,
        UpdateState.FELL_BACK,
        UpdateState.REVERTED,
    ),
    Phase.SENDING: (),
    Phase.VERIFYING: (UpdateState.RECEIVING,),
    Phase.BOOTING: (UpdateState.VERIFIED,),
    Phase.TRIAL: (),
    Phase.CONFIRMING: (UpdateState.TRIAL,),
}
"""States from before that a slow device may still show."""


class Transfer(Struct, frozen=True):
    """One release on its way into one device."""

    image: bytes
    signature: bytes
    version_number: int
    phase: Phase
    since_ns: int
    """When the last progress was made."""
    sent_bytes: int = 0


class Send(Struct, frozen=True):
    """Write these words at these offsets of the block, in order, then read the state."""

    writes: tuple[tuple[int, list[int]], ...]
    once: bool = False
    """The device may restart before it replies: do not repeat, the state decides."""


class Wait(Struct, frozen=True):
    """Read the state again a little later."""


class CheckTrial(Struct, frozen=True):
    """Read the machine's signals: does the new version run, and answer properly?"""


class Finished(Struct, frozen=True):
    """The new version is confirmed."""


class Broken(Struct, frozen=True):
    """The transfer has ended without success."""

    reason: str


Step = Send | Wait | CheckTrial | Finished | Broken


def start(release: firmware.Release, image: bytes, now_ns: int) -> tuple[Transfer, Step]:
    """Open the transfer of a verified image."""
    number = firmware.version_number(release.version)
    transfer = Transfer(
        image=image,
        signature=bytes.fromhex(release.signature),
        version_number=number,
        phase=Phase.OPENING,
        since_ns=now_ns,
    )
    head = [*_two_words(number), *_two_words(len(image))]
    return transfer, Send(((firmware.BLOCK_VERSION, head), _control(UpdateControl.BEGIN)))


def advance(transfer: Transfer, state: UpdateState | None, now_ns: int) -> tuple[Transfer, Step]:
    """Take the next step, given the state that the device shows; ``None``: it does not answer."""
    phase = transfer.phase
    match phase, state:
        case ((Phase.OPENING | Phase.SENDING), UpdateState.RECEIVING):
            return _send_next(transfer, now_ns)
        case Phase.VERIFYING, UpdateState.VERIFIED:
            return _order(transfer, Phase.BOOTING, UpdateControl.BOOT_TRIAL, now_ns)
        case ((Phase.BOOTING | Phase.TRIAL), UpdateState.TRIAL):
            since_ns = now_ns if phase is Phase.BOOTING else transfer.since_ns
            return replace(transfer, phase=Phase.TRIAL, since_ns=since_ns), CheckTrial()
        case Phase.CONFIRMING, UpdateState.CONFIRMED:
            return transfer, Finished()
    shown = "nothing" if state is None else state.name
    too_long = now_ns - transfer.since_ns > PATIENCE_S[phase] * 1e9
    wrong = state is not None and state not in _WAITING_IS_FINE[phase]
    broken = Broken(f"the device shows {shown} while {phase}")
    return transfer, broken if wrong or too_long else Wait()


def tried(
    transfer: Transfer, version_number: float | None, *, proper: bool, now_ns: int
) -> tuple[Transfer, Step]:
    """Judge the trial: confirm, look again, or leave the device to fall back.

    Args:
        transfer: a transfer that was told to check the trial.
        version_number: what the version register shows.
        proper: whether every signal that the old version showed can be read.
        now_ns: plant time.
    """
    if version_number != transfer.version_number:
        return transfer, Broken(
            f"the trial runs version number {version_number}, not {transfer.version_number}"
        )
    if not proper and now_ns - transfer.since_ns <= PATIENCE_S[Phase.TRIAL] * 1e9:
        return transfer, Wait()
    if not proper:
        return transfer, Broken("the new version shows less than the old one did")
    return _order(transfer, Phase.CONFIRMING, UpdateControl.CONFIRM, now_ns)


def revert() -> Send:
    """Order the bootloader to go back to what ran before."""
    return Send((_control(UpdateControl.REVERT),), once=True)


def reverted(state: UpdateState | None, waited_s: float) -> Wait | Finished | Broken:
    """Judge what the device shows, so long after it was ordered to go back."""
    match state:
        case UpdateState.REVERTED:
            return Finished()
        case UpdateState.REJECTED:
            return Broken("the device has nothing that it may go back to")
        case UpdateState.TRIAL | UpdateState.RECEIVING | UpdateState.VERIFIED:
            return Broken(f"the device shows {state.name}: somebody else updates it")
        case _ if waited_s > PATIENCE_S[Phase.BOOTING]:
            shown = "nothing" if state is None else state.name
            return Broken(f"the device shows {shown} long after it was told to go back")
    return Wait()


def _send_next(transfer: Transfer, now_ns: int) -> tuple[Transfer, Step]:
    """Send the next chunk, or the signature after the last one."""
    offset = transfer.sent_bytes
    chunk = transfer.image[offset : offset + firmware.CHUNK_BYTES]
    if not chunk:
        signature = firmware.BLOCK_SIGNATURE, _words(transfer.signature)
        return _order(transfer, Phase.VERIFYING, UpdateControl.VERIFY, now_ns, signature)
    following = replace(
        transfer, phase=Phase.SENDING, since_ns=now_ns, sent_bytes=offset + len(chunk)
    )
    return following, Send(
        (
            (firmware.BLOCK_OFFSET, [*_two_words(offset), len(chunk)]),
            (firmware.BLOCK_DATA, _words(chunk)),
            _control(UpdateControl.STORE_CHUNK),
        )
    )


def _order(
    transfer: Transfer,
    phase: Phase,
    control: UpdateControl,
    now_ns: int,
    *before: tuple[int, list[int]],
) -> tuple[Transfer, Step]:
    """Enter a phase by writing a control word, after anything that it needs."""
    following = replace(transfer, phase=phase, since_ns=now_ns)
    return following, Send((*before, _control(control)), once=control is UpdateControl.BOOT_TRIAL)


def _control(control: UpdateControl) -> tuple[int, list[int]]:
    return firmware.BLOCK_CONTROL, [int(control)]


def _two_words(number: int) -> list[int]:
    return [number >> 16, number & 0xFFFF]


def _words(data: bytes) -> list[int]:
    """Pack bytes into words, the last one padded with zero."""
    padded = data + bytes(len(data) % 2)
    return [int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2)]
