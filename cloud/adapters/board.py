"""A worker's live board: the newest of each machine and its counters, in shared memory.

The worker maps a file and writes its arrays; the main process maps the same file and reads them, at
no cost to the worker. There are no locks: a reader may see a row of which half is new. That is good
enough for people and metrics, and nothing is ever decided by it. After a crash the board begins
anew.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import Refused, Unreachable
from contract.telemetry import Quality

COUNTERS = (
    "accepted", "repeated", "throttled", "quarantined", "scored", "late", "written", "rejected",
    "refused", "delay_sum_s", "delay_count",
)  # fmt: skip
"""Messages accepted, repeated, throttled, quarantined; readings scored, and come too late for it;
rows that the series store took, and rejected; messages refused because the journal was full; and of
the delays their sum in seconds and their number."""

_STEPS = ("1", "1.25", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8")
DELAY_BOUNDS_S = tuple(float(f"{step}e{power}") for power in range(-3, 3) for step in _STEPS)
"""Upper bounds of `Board.delay_buckets`, 1 ms to 800 s; one bucket more holds what is above."""

NO_STATE = 255
"""In `Board.state`: nothing was judged yet."""

_HEADER = struct.Struct("<8s6I")
_MAGIC = b"farfix01"
"""Also the version of the layout, as far as the numbers behind it do not tell."""
_MARKS = ("fed", "newest", "journal_bytes")
_NUMBERS = len(COUNTERS) + len(DELAY_BOUNDS_S) + 1 + len(_MARKS)
_COUNTER = {name: i for i, name in enumerate(COUNTERS)}

_BOUNDS = np.array(DELAY_BOUNDS_S)

_Kind = TypeVar("_Kind", bound=np.generic)


class Board:
    """Arrays by the device's index in `devices`. Made by `create` and `open`."""

    def __init__(self, buffer: mmap.mmap, names: bytes, width: int) -> None:
        """Lay arrays over a mapped file of the right size."""
        self.devices = msgspec.json.decode(names, type=list[str])
        self.index = {device: i for i, device in enumerate(self.devices)}
        """Where each device is in `devices`."""
        count = len(self.devices)
        arrays = _Arrays(buffer, _start(names))
        self.last_ns = arrays.next(np.int64, count)
        """(D,) event time of the newest reading; 0: none yet."""
        self.scored = arrays.next(np.int64, count)
        """(D,) readings that its detector has ever seen, over all restarts."""
        self.score = arrays.next(np.float64, count)
        """(D,) 1.0 is the alarm level; NaN: not judged."""
        self.progress = arrays.next(np.float64, count)
        """(D,) how far commissioning is, 0 to 1."""
        self.values = arrays.next(np.float64, count, width)
        """(D, width) the newest reading, in the order of the machine type's signals; NaN: none."""
        self.counters = arrays.next(np.float64, len(COUNTERS))
        """In the order of `COUNTERS`, since the worker started."""
        self.delay_buckets = arrays.next(np.float64, len(DELAY_BOUNDS_S) + 1)
        """How many delays are at most as long as the bucket's bound and longer than the last's."""
        self._marks = arrays.next(np.int64, len(_MARKS))
        self.state = arrays.next(np.uint8, count)
        """(D,) index of the detector's state, or `NO_STATE`."""
        self.quality = arrays.next(np.uint8, count, width)
        """(D, width) `Quality` of `values`."""

    @classmethod
    def create(cls, path: Path, devices: Sequence[str], width: int) -> "Board":
        """Make a board and put it in the place of an older one, which its readers keep.

        Args:
            path: the file. On a disk it is written back now and then, which nobody waits for.
            devices: the worker's devices.
            width: the most signals that one of them has.

        Raises:
            Refused: the disk is full, or the file cannot be made.
        """
        names = msgspec.json.encode(list(devices))
        head = _HEADER.pack(_MAGIC, len(devices), width, *_known(), len(names))
        fresh = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written and not only made long: a hole that finds no room later would kill the worker.
            fresh.write_bytes((head + names).ljust(_size(len(devices), width, names), b"\0"))
            with fresh.open("r+b") as file:
                board = cls(mmap.mmap(file.fileno(), 0), names, width)
            board.score[:] = board.values[:] = np.nan
            board.state[:], board.quality[:] = NO_STATE, Quality.MISSING
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise Refused(f"the live board {path} cannot be made: {error}") from error
        return board

    @classmethod
    def open(cls, path: Path) -> "Board":
        """Map a worker's board to read it; to write to it is an error.

        Raises:
            Unreachable: there is none, or it is none of this version.
        """
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                magic, count, width, *known, length = _HEADER.unpack(file.read(_HEADER.size))
                names = file.read(min(length, size))
                if (magic, tuple(known)) != (_MAGIC, _known()):
                    raise Unreachable(f"the live board {path} is one of another version")
                if size != _size(count, width, names):
                    raise Unreachable(f"the live board {path} is damaged: it has {size} bytes")
                buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            board = cls(buffer, names, width)
        except (OSError, ValueError, struct.error, msgspec.MsgspecError) as error:
            raise Unreachable(f"the live board {path} cannot be read: {error}") from error
        if len(board.devices) != count:
            raise Unreachable(f"the live board {path} is damaged: its devices are not {count}")
        return board

    # What the worker writes.

    def count(self, name: str, n: float = 1) -> None:
        """Add to one of `COUNTERS`."""
        self.counters[_COUNTER[name]] += n

    def delays(self, delays_s: NDArray[np.float64]) -> None:
        """Count delays from measurement to verdict, in seconds."""
        buckets = np.searchsorted(_BOUNDS, delays_s)
        self.delay_buckets += np.bincount(buckets, minlength=len(self.delay_buckets))
        self.count("delay_sum_s", float(delays_s.sum()))
        self.count("delay_count", len(delays_s))

    def show_journal(self, *, fed: int, newest: int, journal_bytes: int) -> None:
        """Tell how the worker's journal is."""
        self._marks[:] = fed, newest, journal_bytes

    # What the main process reads.

    def counted(self, name: str) -> float:
        """Return one of `COUNTERS`."""
        return float(self.counters[_COUNTER[name]])

    @property
    def fed(self) -> int:
        """The series store has all groups up to this one."""
        return int(self._marks[0])

    @property
    def newest(self) -> int:
        """The newest group in the journal."""
        return int(self._marks[1])

    @property
    def journal_bytes(self) -> int:
        """What waits in the journal."""
        return int(self._marks[2])


class _Arrays:
    """Hands out one array after the other."""

    def __init__(self, buffer: mmap.mmap, offset: int) -> None:
        self._buffer, self._offset = buffer, offset

    def next(self, kind: type[_Kind], *shape: int) -> NDArray[_Kind]:
        count = int(np.prod(shape))
        array: NDArray[Any] = np.frombuffer(self._buffer, kind, count, self._offset)
        self._offset += array.nbytes
        return array.reshape(shape)


def _known() -> tuple[int, int, int]:
    return len(COUNTERS), len(DELAY_BOUNDS_S), len(_MARKS)


def _start(names: bytes) -> int:
    """Return where the arrays begin: those of 8 bytes first, so that all are aligned."""
    return -(-(_HEADER.size + len(names)) // 8) * 8


def _size(count: int, width: int, names: bytes) -> int:
    return _start(names) + 8 * (4 * count + count * width + _NUMBERS) + count + count * width
