"""Commissioning rows, kept until a reference can be learned from them."""

import numpy as np
from numpy.typing import NDArray

from models.factors import Array

Counts = NDArray[np.int64]

_GREATEST = 1e100
"""Beyond it a value is a broken word of the wire, and taken as missing: the sum of its squares
would overflow."""


class Buffer:
    """Commissioning rows of one machine; as large as what is in it, but for a factor of two."""

    def __init__(self, d: int) -> None:
        self.times, self.rows, self.count = np.zeros(0, np.int64), np.zeros((0, d)), 0

    @classmethod
    def of(cls, times: Counts, rows: Array) -> "Buffer":
        """Return a buffer that holds these rows."""
        buffer = cls(rows.shape[1])
        buffer.times, buffer.rows, buffer.count = times, rows, len(times)
        return buffer

    def add(self, time_ns: int, row: Array) -> None:
        """Keep a row that went through `plausible`."""
        if self.count == len(self.times):
            room = max(256, self.count)
            self.times = np.concatenate([self.times, np.zeros(room, np.int64)])
            self.rows = np.concatenate([self.rows, np.zeros((room, self.rows.shape[1]))])
        self.times[self.count] = time_ns
        self.rows[self.count] = row
        self.count += 1

    def held(self) -> tuple[Counts, Array]:
        """Return times and rows that are in it."""
        return self.times[: self.count], self.rows[: self.count]


def plausible(rows: Array) -> Array:
    """Return rows with NaN for what is no number."""
    return np.where(np.abs(rows) <= _GREATEST, rows, np.nan)
