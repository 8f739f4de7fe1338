"""Score and alarm for every row of a CSV, in lock-step or from file to file.

Exactly one answer per row, whatever is in it: who waits for answers must not be kept waiting.
"""

import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from contract.errors import Malformed
from farfix import csv_rows

if TYPE_CHECKING:
    from models.online import Stream

DEFAULT_WARMUP = 600
"""Ten minutes at a row a second. Where rows are rarer, one should know and say better."""
MISSING = {"", "na", "nan", "null", "none"}
CHUNK_ROWS = 5_000
PROGRESS_ROWS = 200_000
"""A line on standard error every so many rows: one every few seconds."""
SHOWN = 5
"""The first bad rows are told at once, one by one, the others in one sum at the end."""


def main(warmup: int | None, batch: tuple[Path, Path] | None) -> None:
    """Answer the rows of standard input, or of the first file into the second.

    Raises:
        Malformed: a header, file or number of rows that cannot be used, and why.
    """
    rows = _warmup(warmup)
    if batch:
        _convert(*batch, rows)
    else:
        _answer(sys.stdin, sys.stdout, rows)


def _warmup(asked: int | None) -> int:
    text = os.environ.get("DETECTOR_WARMUP", "").strip()
    if asked is None and text:
        if not text.isdecimal():
            raise Malformed(f"DETECTOR_WARMUP is a number of rows; it is {text[:40]!r}")
        asked = int(text)
    if asked is None:
        _say(f"learning from the first {DEFAULT_WARMUP} rows; --warmup N says otherwise")
        return DEFAULT_WARMUP
    return asked


def _say(text: str) -> None:
    print(f"farfix score: {text}", file=sys.stderr, flush=True)


class _Table:
    """What the header says, and which rows did not keep to it."""

    def __init__(self, header: Sequence[str], warmup: int) -> None:
        names = [name.strip() for name in header]
        self.signals = [name for name in names if name != "time"]
        if len(names) - len(self.signals) != 1:
            raise Malformed(
                "the first line must name the columns, one of them `time`, separated by commas; "
                f"it is {','.join(names)[:100]!r}"
            )
        if not self.signals or len(set(self.signals)) < len(names) - 1 or "" in self.signals:
            raise Malformed(
                f"needs at least one signal column, each with a name of its own; the first line is "
                f"{','.join(names)[:100]!r}"
            )
        self.time, self._names, self._bad = names.index("time"), names, 0
        self.stream = _stream(self.signals, warmup)

    def parse(self, cells: Sequence[str], line: int) -> tuple[float, list[float]] | None:
        """Return time and values; None if the row cannot be judged."""
        if len(cells) != len(self._names):
            self._blame(line, f"{len(cells)} values under {len(self._names)} column names")
            return None
        time_s = _seconds(cells[self.time])
        if time_s is None:
            self._blame(line, f"{cells[self.time][:40]!r} is no time; seconds or ISO 8601")
            return None
        values = []
        for place, text in enumerate(cells):
            if place == self.time:
                continue
            try:
                values.append(float(text))
            except ValueError:
                values.append(math.nan)
                if text.strip().lower() not in MISSING:
                    self._blame(line, f"{self._names[place]}: {text[:40]!r} is no number")
        return time_s, values

    def _blame(self, line: int, why: str) -> None:
        self._bad += 1
        if self._bad <= SHOWN:
            _say(f"line {line}: {why}")

    def close(self) -> None:
        """Say how many rows were bad, if some were not told."""
        if self._bad > SHOWN:
            _say(f"{self._bad} faults in all; the first {SHOWN} are shown above")


def _stream(signals: Sequence[str], warmup: int) -> "Stream":
    from models.online import Stream, commissioning_rows  # noqa: PLC0415 - verbs load only what they need

    # compiled once per installation, for a quarter of a minute: now, so that no row waits for it
    made_up = [[float((i * i + 3 * j) % 7) for j in range(len(signals))] for i in range(99)]
    Stream(signals, 60).steps(list(map(float, range(99))), made_up)
    rows = commissioning_rows(warmup)
    if rows != warmup:
        _say(f"{warmup} rows asked for, learning from {rows}")
    return Stream(signals, warmup)


def _seconds(text: str) -> float | None:
    """Return seconds since 1970, or since wherever the file counts from; None if unreadable."""
    try:
        number = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        number = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return number if math.isfinite(number) else None


def _cells(line: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(",")
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _answer(source: TextIO, sink: TextIO, warmup: int) -> None:
    """Answer every line, even an empty one, before the next is read."""
    if isinstance(source, TextIOWrapper):
        source.reconfigure(encoding="utf-8-sig", errors="replace")
    table = _Table(_cells(source.readline()), warmup)
    score, alarm = 0.0, False
    try:
        for number, line in enumerate(iter(source.readline, ""), 2):
            row = table.parse(_cells(line), number)
            if row is not None:
                score, alarm = table.stream.step(*row)
            sink.write(f"{score!r},{alarm:d}\n")
            sink.flush()
    finally:
        table.close()


def _convert(source: Path, target: Path, warmup: int) -> None:
    """Write an answer for every row of a file."""
    if target.exists() and target.samefile(source):
        raise Malformed(f"{target} would be overwritten while it is read; name another output")
    lines = csv_rows.read(source, strict=False)
    _, header = next(lines, (0, []))
    table = _Table(header, warmup)
    try:
        stream = target.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise Malformed(f"{target} cannot be written: {error.strerror}") from error
    with stream:
        writer = csv.writer(stream)
        writer.writerow(["time", "score", "alarm"])
        done, last = 0, (0.0, False)
        while chunk := list(islice(lines, CHUNK_ROWS)):
            answers = _judge(table, chunk, last)
            for (_, cells), (score, alarm) in zip(chunk, answers, strict=True):
                time = cells[table.time] if table.time < len(cells) else ""
                writer.writerow([time, repr(score), int(alarm)])
            last, done = answers[-1], done + len(chunk)
            if done % PROGRESS_ROWS == 0:
                _say(f"{done} rows done")
    table.close()


def _judge(
    table: _Table, chunk: Sequence[tuple[int, list[str]]], last: tuple[float, bool]
) -> list[tuple[float, bool]]:
    """Return an answer for each row; those that cannot be judged repeat the last one."""
    parsed = [table.parse(cells, number) for number, cells in chunk]
    good = [row for row in parsed if row is not None]
    judged: Iterator[tuple[float, bool]] = iter(())
    if good:
        scores, alarms = table.stream.steps([t for t, _ in good], [x for _, x in good])
        judged = zip(scores.tolist(), alarms.tolist(), strict=True)
    answers = []
    for row in parsed:
        last = last if row is None else next(judged)
        answers.append(last)
    return answers
