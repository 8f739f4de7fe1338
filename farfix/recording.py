"""Recorded telemetry in a file: rows of numbers with a time, as spreadsheets and loggers write."""

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from contract.errors import Malformed
from contract.machines import MachineType

TIME_COLUMNS = ("datetime", "timestamp", "time", "date", "t")
LABEL_COLUMNS = ("anomaly", "label")
MAX_ROWS = 1_000_000
SEPARATORS = ";,\t|"


class Recording(Struct, frozen=True):
    """What was recorded, in order of time, with columns named as the machine type's signals."""

    signals: list[str]
    times_ns: list[int]
    """As in the file, read as UTC; counted by the polling interval where the file has none."""
    rows: list[list[float | None]]
    labelled: list[bool]
    """Rows that the file itself marks as abnormal."""
    ignored: list[str]
    """Columns that are no signal."""
    skipped: int = 0
    """Rows left out because their time does not increase."""


def read(file: Path, machine: MachineType) -> Recording:
    """Read a file for a machine type.

    Raises:
        Malformed: it cannot be read, has none of the signals, or a cell is neither number nor time.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            header = text.readline()
            separator = max(SEPARATORS, key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
            return _read(csv.reader(text, delimiter=separator), names, machine, str(file))
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Malformed(f"{file} is no table of text: {error}") from error


def _read(
    lines: Iterator[list[str]], names: Sequence[str], machine: MachineType, source: str
) -> Recording:
    columns = _columns(names, machine, source)
    time_at = _first(names, TIME_COLUMNS)
    label_at = _first(names, LABEL_COLUMNS)
    recording = Recording(
        signals=list(columns),
        times_ns=[],
        rows=[],
        labelled=[],
        ignored=[n for i, n in enumerate(names) if i not in {*columns.values(), time_at, label_at}],
    )
    skipped = 0
    for number, cells in enumerate(lines, 2):
        if not any(cells):
            continue
        if len(cells) != len(names) or number > MAX_ROWS:
            raise Malformed(
                f"{source}, line {number}: {len(cells)} cells where the header has {len(names)}"
                if number <= MAX_ROWS
                else f"{source} has more than {MAX_ROWS} rows: split it"
            )
        where = f"{source}, line {number}"
        if time_at is None:
            at_ns = round(len(recording.rows) * machine.poll_interval_s * 1e9)
        else:
            at_ns = _time_ns(cells[time_at], where)
        if recording.times_ns and at_ns <= recording.times_ns[-1]:
            skipped += 1
            continue
        recording.times_ns.append(at_ns)
        recording.rows.append([_number(cells[i], where) for i in columns.values()])
        recording.labelled.append(
            label_at is not None and _number(cells[label_at], where) not in {None, 0.0}
        )
    if len(recording.rows) < 2:
        raise Malformed(f"{source} has no rows to replay")
    return Recording(
        recording.signals,
        recording.times_ns,
        recording.rows,
        recording.labelled,
        recording.ignored,
        skipped,
    )


def _columns(names: Sequence[str], machine: MachineType, source: str) -> dict[str, int]:
    """Return where each signal's column is."""
    found = {}
    for signal in machine.signals:
        for name in (signal.csv_column, signal.name):
            if name in names:
                found[signal.name] = names.index(name)
                break
    if not found:
        expected = ", ".join(s.csv_column or s.name for s in machine.signals)
        raise Malformed(
            f"{source} has no column of machine type {machine.name}. It has: "
            f"{', '.join(names) or 'none'}. Expected are: {expected}"
        )
    return found


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in wanted if name in lower), None)


def _number(cell: str, where: str) -> float | None:
    if not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError as error:
        raise Malformed(f"{where}: {cell[:40]!r} is no number") from error
    return value if math.isfinite(value) else None


def _time_ns(cell: str, where: str) -> int:
    """Read ISO 8601, or seconds since 1970 (or since the recording began)."""
    try:
        return round(float(cell) * 1e9)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError as error:
        raise Malformed(
            f"{where}: {cell[:40]!r} is no time; write ISO 8601 or seconds since 1970"
        ) from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1e6) * 1000


def spans(marks: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of marks."""
    found: list[tuple[int, int]] = []
    for i, mark in enumerate(marks):
        if mark and found and found[-1][1] == i - 1:
            found[-1] = (found[-1][0], i)
        elif mark:
            found.append((i, i))
    return found
