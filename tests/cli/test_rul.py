"""`farfix rul` as a person and the evaluation meet it: files, exit codes, messages."""

import csv
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from farfix.__main__ import main


def write(file: Path, lives: dict[str, list[list[float]]], signals: str = "hot,loud,fixed") -> Path:
    lines = [f"unit,cycle,{signals}"]
    for unit, rows in lives.items():
        lines += [f"{unit},{i}," + ",".join(map(str, row)) for i, row in enumerate(rows, 1)]
    file.write_text("\n".join(lines) + "\n")
    return file


def a_life(seed: int, cut: float = 1.0) -> tuple[list[list[float]], int]:
    """Return the rows up to the cut and the cycles left after it."""
    draw = np.random.default_rng(seed)
    rate = 0.04 * math.exp(0.25 * draw.standard_normal())
    length = math.ceil(math.log(50) / rate)
    wear = 0.02 * np.exp(rate * np.arange(1, length))
    rows = [
        [900 + 9 * w + draw.standard_normal() / 2, 4 - w + draw.standard_normal() / 9, 5.0]
        for w in wear
    ]
    last = max(int(cut * len(rows)), 1)
    return rows[:last], len(rows) - last


def rul(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["farfix", "rul", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_remaining_life_is_told_for_every_unit_with_its_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "train.csv", {f"T{i}": a_life(i)[0] for i in range(20)})
    cuts = {f"X{i}": a_life(100 + i, 0.3 + 0.05 * i) for i in range(14)}
    test = write(tmp_path / "test.csv", {unit: rows for unit, (rows, _) in cuts.items()})
    out = tmp_path / "out.csv"
    assert rul(monkeypatch, train, test, out, "--cap", "60") == 0
    assert "learnt from 20 of 20 lives" in capsys.readouterr().err
    with out.open() as stream:
        told = {row["unit"]: row for row in csv.DictReader(stream)}
    assert list(told) == list(cuts)
    errors = []
    for unit, (_, left) in cuts.items():
        low, expected, high = (float(told[unit][name]) for name in ("low", "rul", "high"))
        assert 0 <= low <= expected <= high
        errors.append(expected - min(left, 60))
    assert math.sqrt(np.mean(np.square(errors))) < 12  # the mean alone: about 20


def test_too_few_lives_give_the_mean_an_infinite_interval_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "train.csv", {"A": [[1.0, 2.0, 3.0]] * 11})
    test = write(tmp_path / "test.csv", {"B": [[1.0, 2.0, 3.0]]})
    assert rul(monkeypatch, train, test, tmp_path / "out.csv") == 0
    assert "no estimate for 1 of 1 units (B) from 1 lives" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text().split() == ["unit,rul,low,high", "B,5.000,0.000,inf"]


def test_columns_are_found_by_name_and_gaps_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = write(tmp_path / "train.csv", {"A": [[1.0, 2.0, 3.0]] * 5})
    test = tmp_path / "test.csv"
    test.write_text("loud,fixed,cycle,more,hot,unit\n,nan,2,x,7,B\n")
    assert rul(monkeypatch, train, test, tmp_path / "out.csv") == 0


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("", "the first line must name the columns"),
        ("unit,time,a\n1,1,1\n", "the first line must name the columns"),
        ("unit,cycle\n1,1\n", "at least one signal column"),
        ("unit,cycle,a,a\n1,1,1,1\n", "a name of its own"),
        ("unit,cycle,a\n", "no row below"),
        ("unit,cycle,a\n1,1,2\n1,2\n", "line 3: 2 values under 3 column names"),
        ("unit,cycle,a\n1,1,warm\n", "line 2, column a: 'warm' is no number"),
        ("unit,cycle,a\n1,,5\n", "line 2: every row needs its cycle"),
        ("unit,cycle,a\n1,1,5\n", "no unit has two cycles"),
        ("unit,cycle,b\n1,1,5\n1,2,5\n", "columns b are missing"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    train: str,
    says: str,
) -> None:
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "test.csv").write_text("unit,cycle,a\n9,1,1\n")
    files = [tmp_path / name for name in ("train.csv", "test.csv", "out.csv")]
    assert rul(monkeypatch, *files) == 2
    message = capsys.readouterr().err
    assert says in message
    assert "Traceback" not in message
    assert not files[-1].exists()


def test_files_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.csv", {"A": [[1.0, 2.0, 3.0]] * 5})
    assert rul(monkeypatch, tmp_path / "none.csv", good, tmp_path / "out.csv") == 2
    assert "none.csv cannot be read: No such file" in capsys.readouterr().err
    assert rul(monkeypatch, good, good, tmp_path / "nowhere" / "out.csv") == 2
    assert "out.csv cannot be written: No such file" in capsys.readouterr().err


def test_turbofans_are_foretold_as_well_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.environ.get("FARFIX_DATA")
    if not folder:
        pytest.skip("set FARFIX_DATA to the folder that holds cmapss/train_FD001.txt")
    table = np.loadtxt(Path(folder) / "cmapss" / "train_FD001.txt")
    lives = {int(u): table[table[:, 0] == u][:, 2:] for u in np.unique(table[:, 0])}
    cuts = np.random.default_rng(5).uniform(0.2, 1.0, 30)
    kept = {u: max(int(c * len(lives[u])), 1) for u, c in zip(range(1, 31), cuts, strict=True)}
    names = ",".join(f"s{i}" for i in range(24))
    train = write(tmp_path / "a.csv", {str(u): lives[u].tolist() for u in range(31, 101)}, names)
    test = write(
        tmp_path / "b.csv", {str(u): lives[u][:n].tolist() for u, n in kept.items()}, names
    )
    assert rul(monkeypatch, train, test, tmp_path / "out.csv") == 0
    with (tmp_path / "out.csv").open() as stream:
        told = {int(row["unit"]): float(row["rul"]) for row in csv.DictReader(stream)}
    errors = [told[u] - min(len(lives[u]) - n, 125) for u, n in kept.items()]
    # best published on the set's own test units: 10.97
    assert math.sqrt(np.mean(np.square(errors))) < 10.9
