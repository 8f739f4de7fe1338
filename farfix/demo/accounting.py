"""Where every reading went: what was heard on the wire against what the store holds."""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cloud.adapters import series_files
from contract import codec
from contract.telemetry import TelemetryBatch
from farfix.demo.report import Telemetry
from farfix.witness import Witness

DRAIN_TIMEOUT_S = 30.0

Readings = set[tuple[str, int]]
"""Device and event time."""
Batches = Mapping[tuple[str, str], set[int]]
"""Sequences by device and boot."""


def nothing() -> Telemetry:
    """Return the figures of a run that is not counted yet."""
    return Telemetry(published=0, stored=0, lost=0, duplicates=0)


def heard(witness: Witness) -> Readings:
    """Return what was published."""
    return {(device, at) for device, times in witness.readings.items() for at in times}


def stored(files: Iterable[Path]) -> Readings:
    """Return what the files of the embedded time series store hold."""
    return {reading for file in files for reading in series_files.instants(file)}


def spooled(files: Iterable[Path]) -> tuple[Readings, set[tuple[str, str, int]]]:
    """Return what agents still hold: the readings, and their batches by device, boot, sequence."""
    found: Readings = set()
    batches: set[tuple[str, str, int]] = set()
    for file in files:
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
        try:
            rows = database.execute("SELECT device, boot, sequence, data FROM batch").fetchall()
        finally:
            database.close()
        for device, boot, sequence, data in rows:
            batches.add((device, boot, sequence))
            found |= {(device, at) for at in codec.decode(data, TelemetryBatch).times_ns}
    return found, batches


def gaps(heard_of: Batches, held: set[tuple[str, str, int]]) -> int:
    """Count batches whose number was never heard although a later one was."""
    missing = 0
    for (device, boot), numbers in heard_of.items():
        own = numbers | {n for d, b, n in held if (d, b) == (device, boot)}
        missing += max(own) - len(own)
    return missing


def await_stored(files: Sequence[Path], wanted: Readings) -> None:
    """Wait until the gateway has stored what it was sent, or the time is up."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    while time.monotonic() < deadline_s and not wanted <= stored(files):
        time.sleep(0.3)


def count(
    published: Readings, kept: Readings, held: Readings, *, scored: int, missing: int, repeated: int
) -> Telemetry:
    """Put the figures together.

    Args:
        published: heard on the wire.
        kept: in the time series store.
        held: still in an agent's spool; a stopped agent sends it at its next start.
        scored: how many readings the gateway judged.
        missing: batches that an agent numbered but nobody ever heard.
        repeated: batches that came again and were dropped.
    """
    return Telemetry(
        published=len(published),
        stored=len(kept),
        lost=len(published - kept - held) + missing,
        duplicates=max(0, scored - len(kept)),
        in_spool=len(held - kept),
        redelivered_batches=repeated,
    )
