"""Recorded files: separators, columns, times, holes, and what is wrong with a file."""

from pathlib import Path

import pytest

from contract import machines
from contract.errors import Malformed
from farfix import recording

RIG = machines.library()["water_pump_rig"]


def write(folder: Path, text: str) -> Path:
    file = folder / "file.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_columns_are_found_whatever_separates_them(tmp_path: Path, separator: str) -> None:
    text = (
        "datetime;Pressure;Current;anomaly;changepoint\n"
        "2020-03-09 10:14:33;0.5;1.25;0.0;0.0\n"
        "2020-03-09 10:14:34;;1.5;1.0;0.0\n"
        "2020-03-09 10:14:36;nan;1.75;1.0;1.0\n"
    ).replace(";", separator)
    found = recording.read(write(tmp_path, text), RIG)
    assert found.signals == ["motor_current_a", "pressure_bar"]
    assert found.rows == [[1.25, 0.5], [1.5, None], [1.75, None]]
    assert [(t - found.times_ns[0]) / 1e9 for t in found.times_ns] == [0, 1, 3]
    assert found.times_ns[0] == 1_583_748_873_000_000_000
    assert found.labelled == [False, True, True]
    assert found.ignored == ["changepoint"]


def test_names_of_signals_serve_as_columns_and_time_may_be_missing(tmp_path: Path) -> None:
    found = recording.read(write(tmp_path, "pressure_bar\n1\n2\n"), RIG)
    assert found.times_ns == [0, round(RIG.poll_interval_s * 1e9)]


def test_rows_whose_time_does_not_increase_are_counted(tmp_path: Path) -> None:
    found = recording.read(write(tmp_path, "t,Pressure\n1,1\n1,2\n0.5,3\n2,4\n"), RIG)
    assert (found.rows, found.skipped) == ([[1.0], [4.0]], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column"),
        ("a,b\n1,2\n", "Expected are: Accelerometer1RMS"),
        ("time,Pressure\n1,high\n2,3\n", "line 2: 'high' is no number"),
        ("time,Pressure\nnoon,1\n", "line 2: 'noon' is no time"),
        ("time,Pressure\n1,2,3\n", "3 cells where the header has 2"),
        ("time,Pressure\n1,2\n", "no rows"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        recording.read(write(tmp_path, text), RIG)


def test_a_missing_or_binary_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="cannot read"):
        recording.read(tmp_path / "nowhere.csv", RIG)
    (tmp_path / "image.png").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(Malformed):
        recording.read(tmp_path / "image.png", RIG)


def test_runs_of_marks_are_found() -> None:
    assert recording.spans([]) == []
    assert recording.spans([True, True, False, True]) == [(0, 1), (3, 3)]
