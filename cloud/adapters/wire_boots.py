"""The positions of all devices' boots, in arrays that compiled code counts in.

One row per boot of a device. What lies above a gap stands beside it, since gaps are rare; so does
the name of a boot that compiled code cannot write into an acknowledgement as it is.
"""

from typing import Final

import msgspec
import numpy as np

from cloud.adapters.wire_kernel import (
    BOOT_COLUMNS,
    CONTIGUOUS,
    GAP,
    MARKED,
    NAME,
    NAME_SIZE,
    OWNER,
    STAMPED,
)
from cloud.adapters.wire_number import Bytes, Ints
from cloud.core.intake import Position, accept
from contract.errors import Malformed

BOOTS_MAX: Final = 64
"""So many boots of a device are remembered; the one that was silent for longest goes."""
RECENT: Final = 4
"""So many boots of a device are known to compiled code."""
SEQUENCE_MAX: Final = 2**63 - 1

NOTHING: Final[frozenset[int]] = frozenset()


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One boot in a snapshot."""

    device: str
    boot: str
    contiguous: int
    beyond: list[int] = []


class Boots:
    """What has been received of every boot, with a way back."""

    def __init__(self, devices: list[str], group_messages: int) -> None:
        self.devices = devices
        self.rows: Ints = np.zeros((max(64, len(devices)), BOOT_COLUMNS), np.int64)
        self.text: Bytes = self.rows.view(np.uint8)
        """The same as bytes. A name's size is 0 if it cannot be written as it is."""
        self.recent: Ints = np.full((len(devices), RECENT), -1, np.int64)
        self.moved: Ints = np.zeros((group_messages, 2), np.int64)
        """Rows that compiled code counted in this group, and their positions before."""
        self.moves = 0
        self.touched: Ints = np.zeros(len(self.rows), np.int64)
        """Boots that are to be acknowledged, marked once each."""
        self.touches = 0
        self.stamp = 0
        self._names: list[str] = []
        self._boots: list[dict[str, int]] = [{} for _ in devices]
        self._beyond: dict[int, frozenset[int]] = {}
        self._free: list[int] = []
        self._log: list[tuple[int, int, str, int, frozenset[int]]] = []
        self._touches_before = 0

    def begin(self) -> None:
        """Begin a group: `undo` comes back to here."""
        self.stamp += 1
        self.moves = 0
        self._log.clear()
        self._touches_before = self.touches

    def undo(self) -> None:
        """Forget what came since `begin`, the last first: compiled code counts before Python."""
        for row in reversed(self._log):
            self._set(*row)
        for slot, contiguous in self.moved[: self.moves][::-1].tolist():
            self.rows[slot, CONTIGUOUS] = contiguous
        self.moves = 0
        self._log.clear()
        for slot in self.touched[self._touches_before : self.touches]:
            self.rows[slot, MARKED] = 0
        self.touches = self._touches_before

    def take(self, device: int, boot: str, sequence: int, oldest: int) -> bool:
        """Take a batch's number; tell whether the batch is to be kept (see `accept`).

        Raises:
            Malformed: the number is beyond what can be counted.
        """
        if sequence > SEQUENCE_MAX:
            raise Malformed(f"sequence {sequence} is larger than {SEQUENCE_MAX}")
        slot = self._boots[device].get(boot, -1)
        before = self._position(slot) if slot >= 0 else Position()
        after, fresh = accept(before, sequence, oldest)
        if slot < 0:
            slot = self._open(device, boot, after)
        elif after != before:
            self._log.append((slot, device, boot, before.contiguous, before.beyond))
            self._set(slot, device, boot, after.contiguous, after.beyond)
        self.rows[slot, STAMPED] = self.stamp
        if slot not in self.recent[device].tolist():
            self.recent[device, 1:] = self.recent[device, :-1].copy()
            self.recent[device, 0] = slot
        return fresh

    def mark(self, device: int, boot: str) -> None:
        """Have a boot acknowledged."""
        slot = self._boots[device][boot]
        if not self.rows[slot, MARKED]:
            self.rows[slot, MARKED] = 1
            self.touched[self.touches] = slot
            self.touches += 1

    def clear(self) -> tuple[Ints, list[tuple[int, str, int]]]:
        """End the marks.

        Returns:
            The rows that were marked; device, name and sequence of those with a name that compiled
            code cannot write.
        """
        slots = self.touched[: self.touches].copy()
        self.touches = self._touches_before = 0
        self.rows[slots, MARKED] = 0
        odd = [
            (int(self.rows[slot, OWNER]), self._names[slot], int(self.rows[slot, CONTIGUOUS]))
            for slot in slots[self.rows[slots, NAME_SIZE] == 0].tolist()
        ]
        return slots, odd

    def _position(self, slot: int) -> Position:
        return Position(int(self.rows[slot, CONTIGUOUS]), self._beyond.get(slot, NOTHING))

    def _open(self, device: int, boot: str, position: Position) -> int:
        boots = self._boots[device]
        if len(boots) >= BOOTS_MAX:
            slot = min(boots.values(), key=lambda s: int(self.rows[s, STAMPED]))
            gone = self._position(slot)
            self._log.append((slot, device, self._names[slot], gone.contiguous, gone.beyond))
        else:
            slot = self._free.pop() if self._free else self._append()
            self._log.append((slot, device, "", 0, NOTHING))
        self._set(slot, device, boot, position.contiguous, position.beyond)
        return slot

    def _append(self) -> int:
        slot = len(self._names)
        self._names.append("")
        if slot == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.text = self.rows.view(np.uint8)
            self.touched = np.concatenate([self.touched, np.zeros_like(self.touched)])
        return slot

    def _set(
        self, slot: int, device: int, boot: str, contiguous: int, beyond: frozenset[int]
    ) -> None:
        """Put a boot into a row, whichever was there; no boot leaves the row free."""
        if self._names[slot] != boot:
            self._boots[device].pop(self._names[slot], None)
            self._names[slot] = boot
            if boot:
                self._boots[device][boot] = slot
            else:
                self._free.append(slot)
                self.recent[device][self.recent[device] == slot] = -1
            plain = boot.isascii() and boot.isprintable() and not {'"', "\\"} & set(boot)
            self.rows[slot, OWNER], self.rows[slot, NAME_SIZE] = device, len(boot) if plain else 0
            if plain:
                self.text[slot, 8 * NAME : 8 * NAME + len(boot)] = np.frombuffer(
                    boot.encode(), np.uint8
                )
        self.rows[slot, CONTIGUOUS], self.rows[slot, GAP] = contiguous, len(beyond)
        if beyond:
            self._beyond[slot] = beyond
        else:
            self._beyond.pop(slot, None)

    def save(self) -> bytes:
        """Return all positions, each device's most silent boot first."""
        contiguous, stamp = self.rows[:, CONTIGUOUS].tolist(), self.rows[:, STAMPED].tolist()
        found = []
        for device, boots in zip(self.devices, self._boots, strict=True):
            for boot, slot in sorted(boots.items(), key=lambda item: stamp[item[1]]):
                beyond = sorted(self._beyond.get(slot, NOTHING))
                found.append(Saved(device, boot, contiguous[slot], beyond))
        return msgspec.msgpack.encode(found)

    def restore(self, data: bytes) -> None:
        """Add what a snapshot knows of these devices; what is known already may not go back.

        Raises:
            Malformed: no snapshot.
        """
        try:
            found = msgspec.msgpack.decode(data, type=list[Saved])
        except msgspec.DecodeError as error:
            raise Malformed(f"not a snapshot of positions: {error}") from error
        number = {device: i for i, device in enumerate(self.devices)}
        for item in found:
            device = number.get(item.device, -1)
            if device < 0:
                continue
            self.begin()  # in order, so that the same boots go first
            for sequence, oldest in [(item.contiguous, item.contiguous + 1), *_each(item.beyond)]:
                if sequence > 0:
                    self.take(device, item.boot, sequence, oldest)
        self.begin()


def _each(beyond: list[int]) -> list[tuple[int, int]]:
    return [(sequence, 0) for sequence in beyond]
