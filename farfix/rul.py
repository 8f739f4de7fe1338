"""Remaining useful life of the machines in one CSV, learnt from the complete lives in another."""

import csv
import math
import sys
from pathlib import Path

import numpy as np

from contract.errors import Malformed
from farfix import csv_rows
from models.prognosis import Estimate, Prognosis
from models.rul_basis import Array

MISSING = {"", "na", "nan", "null"}
PROGRESS_LIVES = 20
"""A line on standard error every so many lives: one every few seconds."""

Life = tuple[list[float], list[Array]]


def main(train: Path, test: Path, output: Path, cap: float) -> None:
    """Learn from every unit in `train`, answer for every unit in `test` after its last row.

    Raises:
        Malformed: a file that cannot be used: what is wrong, and where.
    """
    signals = _header(train)[2:]
    lives, running = _read(train, signals), _read(test, signals)
    prognosis = Prognosis(signals, cap)
    for number, (unit, life) in enumerate(lives.items(), 1):
        _play(prognosis, unit, life)
        prognosis.failed(unit)
        if number % PROGRESS_LIVES == 0:
            _say(f"learnt from {number} of {len(lives)} lives")
    if not prognosis.failures:
        raise Malformed(f"{train}: no unit has two cycles or more; there is no life to learn from")
    answers = {}
    for unit, life in running.items():
        answers[unit] = _play(prognosis, unit, life)
        prognosis.retired(unit)
    _write(output, answers, prognosis)


def _say(text: str) -> None:
    print(f"farfix rul: {text}", file=sys.stderr, flush=True)


def _play(prognosis: Prognosis, unit: str, life: Life) -> Estimate | None:
    prognosis.start(unit)
    answer = None
    for cycle, x in zip(*life, strict=True):
        answer = prognosis.step(unit, cycle, x)
    return answer


def _header(file: Path) -> list[str]:
    """Return the columns, `unit` and `cycle` first."""
    _, header = next(csv_rows.read(file, strict=True), (0, []))
    names = [name.strip() for name in header]
    signals = [name for name in names if name not in ("unit", "cycle")]
    if len(names) - len(signals) != 2 or {"unit", "cycle"} - set(names):
        raise Malformed(
            f"{file}: the first line must name the columns, once each `unit` and `cycle`, "
            f"then the signals; it is {','.join(names)[:100]!r}"
        )
    if not signals or len(set(signals)) < len(signals):
        raise Malformed(f"{file}: needs at least one signal column, each with a name of its own")
    return ["unit", "cycle", *signals]


def _read(file: Path, signals: list[str]) -> dict[str, Life]:
    """Return ages and rows per unit in order of the cycle; columns are found by name."""
    own = _header(file)
    if missing := [name for name in signals if name not in own]:
        raise Malformed(
            f"{file}: columns {', '.join(missing[:5])} are missing; both files need them"
        )
    rows: dict[str, list[tuple[float, Array]]] = {}
    lines = csv_rows.read(file, strict=True)
    _, header = next(lines)
    place = {name.strip(): i for i, name in enumerate(header)}
    wanted = [place[name] for name in signals]
    for number, row in lines:
        if len(row) != len(header):
            raise Malformed(
                f"{file}, line {number}: {len(row)} values under {len(header)} column names"
            )
        cycle = _number(row[place["cycle"]], file, number, "cycle")
        if not math.isfinite(cycle):
            raise Malformed(f"{file}, line {number}: every row needs its cycle, a finite number")
        x = [_number(row[i], file, number, name) for i, name in zip(wanted, signals, strict=True)]
        rows.setdefault(row[place["unit"]].strip(), []).append((cycle, np.array(x)))
    if not rows:
        raise Malformed(f"{file}: there is no row below the column names")
    return {unit: _in_order(life) for unit, life in rows.items()}


def _in_order(rows: list[tuple[float, Array]]) -> Life:
    rows.sort(key=lambda row: row[0])
    return [cycle for cycle, _ in rows], [x for _, x in rows]


def _number(text: str, file: Path, line: int, column: str) -> float:
    if text.strip().lower() in MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise Malformed(
            f"{file}, line {line}, column {column}: {text[:40]!r} is no number; "
            "leave it empty where there is no value"
        ) from None


def _write(output: Path, answers: dict[str, Estimate | None], prognosis: Prognosis) -> None:
    unknown = [unit for unit, answer in answers.items() if answer is None]
    if unknown:
        why = "too few, or the signals do not tell, or these units are unlike all of them"
        _say(
            f"no estimate for {len(unknown)} of {len(answers)} units ({', '.join(unknown[:5])}) "
            f"from {prognosis.failures} lives: {why}. They get the mean remaining life of those "
            "lives, between 0 and inf"
        )
    nothing = Estimate(prognosis.mean_remaining, 0.0, math.inf)
    try:
        with output.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["unit", "rul", "low", "high"])
            for unit, answer in answers.items():
                writer.writerow([unit, *(f"{value:.3f}" for value in answer or nothing)])
    except OSError as error:
        raise Malformed(f"{output} cannot be written: {error.strerror}") from error
