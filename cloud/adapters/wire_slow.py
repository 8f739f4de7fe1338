"""One message at a time, by msgspec and the contract: what compiled code is not sure about."""

import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np

from cloud.adapters import wire_fast as fast
from cloud.adapters import wire_kernel as kernel
from cloud.adapters.wire_number import Bytes, Ints
from cloud.core.asset import AssetRow
from contract import codec, topics
from contract.errors import Malformed
from contract.machines import MachineType
from contract.telemetry import Quality, TelemetryBatch
from contract.topics import Channel

_SIGNALS: Final = re.compile(rb'\{ *(?:"v": *1, *)?"signals": *(\[[^]]*])')
SPELLINGS_MAX: Final = 1024
TEXT_BYTES: Final = 1 << 20
"""Bounds of what is learnt of spellings; the longest list that a message may hold fits."""
_NO_VALUE: Final = int(Quality.MISSING)


class Read(NamedTuple):
    """A batch that could be read."""

    batch: TelemetryBatch
    columns: list[int]
    """Column of each signal, -1 for one that the machine type does not have."""
    problem: str
    """Why it cannot be used at all."""
    strangers: str
    """Why part of it cannot be used."""


def read(payload: bytes, columns: Mapping[str, int]) -> Read:
    """Read a batch whose machine type has these signals.

    Raises:
        Malformed: it cannot be read, not even its number.
    """
    batch = codec.decode(payload, TelemetryBatch)
    where = [columns.get(signal, -1) for signal in batch.signals]
    strangers = [s for s, column in zip(batch.signals, where, strict=True) if column < 0][:5]
    try:
        batch.check()
    except Malformed as error:
        return Read(batch, where, str(error), "")
    if max(where) < 0:
        problem = f"none of its signals belongs to the machine type: {strangers}"
        return Read(batch, where, problem, "")
    reason = f"signals not of the machine type were left out: {strangers}" if strangers else ""
    return Read(batch, where, "", reason)


def rows(found: Read, width: int) -> tuple[list[list[float]], bytes]:
    """Return values (ticks, width) and quality (ticks x width) of a batch without problems."""
    batch, values, quality = found.batch, [], bytearray()
    for tick, given in enumerate(batch.values):
        row, marks = [math.nan] * width, bytearray([_NO_VALUE]) * width
        for j, (column, value) in enumerate(zip(found.columns, given, strict=True)):
            if column < 0:
                continue
            mark = 0 if batch.quality is None else batch.quality[tick][j]
            if value is not None:
                row[column] = value
            elif mark < Quality.BAD:
                mark = _NO_VALUE  # it is neither good nor uncertain, whatever its sender says
            marks[column] = mark
        values.append(row)
        quality += marks
    return values, bytes(quality)


def spelling(payload: bytes, signals: list[str]) -> bytes | None:
    """Return how the list of signals is written, if compiled code can find it by these bytes."""
    found = _SIGNALS.match(payload)
    if found is None:
        return None
    try:
        same = msgspec.json.decode(found[1]) == signals
    except msgspec.DecodeError:
        return None  # a bracket inside a name
    return found[1] if same else None


class Spellings:
    """How the machine types' signals are written, for compiled code to know them by their bytes."""

    def __init__(self, width: int) -> None:
        self.text: Bytes = np.zeros(TEXT_BYTES, np.uint8)
        self.rows: Ints = np.zeros((SPELLINGS_MAX, kernel.COLUMN + width), np.int64)
        self.places: Ints = np.full(2 * SPELLINGS_MAX, -1, np.int64)
        self._count = self._used = 0

    def learn(self, machine: int, key: bytes, columns: list[int]) -> bool:
        """Learn one; false if all had to be forgotten first, so that nobody may refer to any."""
        room = self._count < SPELLINGS_MAX and self._used + len(key) <= TEXT_BYTES
        if not room:
            self._count = self._used = 0
            self.places[:] = -1
        data = np.array(np.frombuffer(key, np.uint8))
        place = fast.find_spelling(data, 0, data.size, machine, self.text, self.rows, self.places)
        if place < 0:
            row = self.rows[self._count]
            row[[kernel.KIND, kernel.OFFSET, kernel.SIZE]] = machine, self._used, data.size
            row[kernel.SIGNALS] = len(columns)
            row[kernel.COLUMN : kernel.COLUMN + len(columns)] = columns
            self.text[self._used : self._used + data.size] = data
            self.places[-1 - place] = self._count
            self._count, self._used = self._count + 1, self._used + data.size
        return room


def why_unknown(topic: str, assets: Mapping[str, AssetRow]) -> str:
    """Say why a topic is not the telemetry of one of the gateway's devices."""
    try:
        parsed = topics.parse(topic)
    except Malformed as error:
        return str(error)
    asset = assets.get(parsed.device)
    if asset is None:
        return f"device {parsed.device} is not in the gateway's list of assets"
    if asset.site != parsed.site:
        return f"device {parsed.device} belongs to site {asset.site}, not {parsed.site}"
    return f"channel {parsed.channel} is not {Channel.TELEMETRY}"


def columns(machine: MachineType) -> dict[str, int]:
    """Return the column of each signal."""
    return {signal.name: i for i, signal in enumerate(machine.signals)}
