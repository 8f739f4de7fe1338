"""What live boards tell about versions: late, torn and skewed readings act on nothing."""

from pathlib import Path

import pytest

from cloud.adapters.board import Board
from cloud.core.asset import AssetRow
from cloud.service.sight import ALARM, Sight
from contract import machines
from contract.firmware import version_number

S = 10**9
PUMP = machines.library()["centrifugal_pump"]
VERSION = [s.name for s in PUMP.signals].index("firmware_version")
DEVICE = "pump-1"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board.create(tmp_path / "board", [DEVICE, "pump-2"], len(PUMP.signals))


@pytest.fixture
def sight() -> Sight:
    assets = {
        name: AssetRow(device=name, site="north", machine_type=PUMP.name)
        for name in (DEVICE, "pump-2")
    }
    return Sight(assets, {PUMP.name: PUMP})


def show(board: Board, at_ns: int, version: str | None) -> None:
    board.last_ns[0] = at_ns
    board.values[0][VERSION] = float("nan") if version is None else version_number(version)


def test_a_machine_that_was_never_heard_shows_nothing(sight: Sight, board: Board) -> None:
    sight.look([board], 100 * S)
    assert (sight.seen(DEVICE).version, sight.seen(DEVICE).heard_ns) == ("", 0)
    assert sight.seen("nobody").heard_ns == 0


def test_a_version_counts_from_the_reading_of_the_look_before(sight: Sight, board: Board) -> None:
    show(board, 100 * S, "1.0.0")
    sight.look([board], 100 * S)
    assert sight.seen(DEVICE).version_ns == 100 * S
    show(board, 105 * S, "1.1.0")  # the time may be new while the values are still old ones
    assert sight.seen(DEVICE).version == "1.1.0"
    assert sight.seen(DEVICE).version_ns == 100 * S
    sight.look([board], 106 * S)
    assert sight.seen(DEVICE).version_ns == pytest.approx(105 * S, abs=S)


def test_a_reading_without_a_version_shows_none(sight: Sight, board: Board) -> None:
    show(board, 100 * S, "1.0.0")
    sight.look([board], 100 * S)
    show(board, 105 * S, None)
    sight.look([board], 105 * S)
    assert sight.seen(DEVICE).version == ""
    board.values[0][VERSION] = 0.5
    assert sight.seen(DEVICE).version == ""


def test_a_clock_that_is_behind_is_put_right(sight: Sight, board: Board) -> None:
    behind_ns = 600 * S
    for second in range(100, 200, 5):
        show(board, second * S - behind_ns, "1.0.0")
        sight.look([board], second * S)
    assert sight.seen(DEVICE).version_ns == pytest.approx(195 * S, abs=S)
    assert sight.plant_ns(DEVICE, 195 * S - behind_ns) == pytest.approx(195 * S, abs=S)


def test_a_reading_that_comes_late_is_not_fresh(sight: Sight, board: Board) -> None:
    for second in range(100, 200, 5):
        show(board, second * S, "1.0.0")
        sight.look([board], second * S)
    show(board, 196 * S, "1.1.0")
    sight.look([board], 400 * S)
    assert sight.seen(DEVICE).version_ns < 205 * S
    assert sight.seen(DEVICE).heard_ns == 400 * S


def test_an_alarm_is_seen(sight: Sight, board: Board) -> None:
    show(board, 100 * S, "1.0.0")
    board.state[0] = ALARM
    sight.look([board], 100 * S)
    assert sight.seen(DEVICE).alarm


def test_a_worker_that_begins_again_is_heard_anew(
    sight: Sight, board: Board, tmp_path: Path
) -> None:
    show(board, 100 * S, "1.0.0")
    sight.look([board], 100 * S)
    again = Board.create(tmp_path / "again", [DEVICE], len(PUMP.signals))
    sight.look([again], 110 * S)
    assert sight.seen(DEVICE).heard_ns == 0
