"""`farfix drill rollout`: the world does what it says, and the drill counts what happened."""

import json
from pathlib import Path

import numpy as np
import pytest

from farfix.drill import rollout_report
from farfix.drill.fleet_run import End, run
from farfix.drill.rollout import main
from farfix.drill.rollout_report import problems, share, summary
from farfix.drill.world import PUMP, Harm, Kind, World

KEYS = [[s.name for s in PUMP.signals].index(k.signal) for k in PUMP.key_signals]
WORSE = np.array([1.0 if k.worse.value == "above" else -1.0 for k in PUMP.key_signals])


def means(world: World, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean scores and key signals of machines over steps without a fault."""
    scores, keys = [], []
    for _ in range(steps):
        world.step()
        scores.append(np.where(world.fault > 0, np.nan, world.score))
        keys.append(world.values[:, KEYS])
    return np.nanmean(scores, axis=0), np.mean(keys, axis=0)


@pytest.mark.parametrize("kind", Kind)
def test_a_release_harms_whom_it_says_and_nobody_else(kind: Kind) -> None:
    world = World(300, Harm(kind, 0.5), seed=3)
    before, keys_before = means(world, 60)
    for i in range(200):
        world.boot(i, release=True)
    means(world, 70)
    after, keys_after = means(world, 60)
    rise = after - before
    harmed = world.release & world.prone
    assert harmed.sum() == {Kind.GOOD: 0}.get(kind, harmed.sum())
    assert world.prone.mean() == pytest.approx(
        {Kind.GOOD: 0.0, Kind.HARDWARE: 1 / 6}.get(kind, 0.5), abs=0.08
    )
    if kind is Kind.HARDWARE:
        assert set(world.hardware[world.prone]) == {1}
    assert np.nanmedian(np.abs(rise[~harmed])) < 0.05
    assert (world.ever_harmed == harmed).all()
    if kind is not Kind.GOOD:
        assert np.nanmedian(rise[harmed]) == pytest.approx(0.5, abs=0.15)
        worse = (WORSE * (keys_after - keys_before))[:, 0]  # loads hide the others' by now
        assert worse[harmed].mean() > worse[~harmed].mean()


def test_harm_that_comes_slowly_is_small_at_first() -> None:
    world = World(10, Harm(Kind.SLOW, 1.0), seed=1)
    for i in range(10):
        world.boot(i, release=True)
    shares = []
    for _ in range(70):
        world.step()
        shares.append(world.harm_now()[0])
    assert shares[14] == pytest.approx(0.25)
    assert shares[-1] == 1.0
    world.boot(0, release=False)
    world.step()
    assert world.harm_now()[0] == 0.0


def test_noise_is_that_of_detectors_on_simulated_pumps() -> None:
    world = World(400, Harm(Kind.GOOD, 1.0), seed=2)
    rows = []
    for _ in range(240):
        world.step()
        rows.append(np.where(world.fault > 0, np.nan, world.score))
    scores = np.array(rows)
    assert np.nanmean(scores) == pytest.approx(0.31, abs=0.03)
    spread = np.nanstd(scores, axis=0)
    assert 0.06 < np.nanmedian(spread) < 0.1
    still = scores[:, ~np.isnan(scores).any(axis=0)]
    centred = still - still.mean(axis=0)
    again = (centred[1:] * centred[:-1]).sum() / (centred**2).sum()
    assert 0.4 < again < 0.7


def test_the_same_seed_is_the_same_rollout() -> None:
    harm = Harm(Kind.HARDWARE, 1.0)
    assert run(90, harm, 5) == run(90, harm, 5)
    assert run(90, harm, 5) != run(90, harm, 6)


@pytest.mark.parametrize("kind", [Kind.BAD, Kind.SLOW])
def test_a_bad_release_is_stopped_and_taken_back(kind: Kind) -> None:
    end = run(300, Harm(kind, 1.0), 1)
    assert end.stop
    assert end.phase == "stopped"
    assert 0 < end.harmed <= end.reached <= 10
    assert (end.left, end.untold) == (0, 0)
    assert end.minutes < 200


def test_a_good_release_reaches_everybody() -> None:
    end = run(100, Harm(Kind.GOOD, 1.0), 1)
    assert (end.stop, end.phase, end.reached, end.harmed, end.prone) == ("", "finished", 100, 0, 0)


def an_end(**fields: object) -> End:
    plain: dict[str, object] = {
        "seed": 1, "phase": "stopped", "stop": "health", "reached": 5, "harmed": 5, "prone": 1000,
        "minutes": 20.0, "left": 0, "untold": 0, "judged_unhealthy": 0,
    }  # fmt: skip
    return End(**(plain | fields))  # type: ignore[arg-type]


def test_intervals_are_wilsons() -> None:
    none, half = share(0, 1000), share(50, 100)
    assert none.low == 0.0
    assert none.high == pytest.approx(0.00383, abs=1e-5)
    assert half.low == pytest.approx(0.4038, abs=1e-4)
    assert half.high == pytest.approx(0.5962, abs=1e-4)
    assert share(10, 10).high == 1.0
    assert share(0, 0).high == 1.0


def test_promises_that_are_not_kept_are_told() -> None:
    good = summary(Kind.GOOD, [an_end(harmed=0)] * 2 + [an_end(stop="")] * 98, 1000)
    late = summary(Kind.SLOW, [an_end(reached=21)] * 2 + [an_end()] * 98, 1000)
    kept = summary(Kind.BAD, [an_end(reached=20)] * 100, 1000)
    secret = summary(Kind.BAD, [an_end(left=2, untold=1)], 1000)
    assert len(problems([good], 1.0)) == 1
    assert len(problems([late], 1.0)) == 1
    assert problems([late], 0.25) == []
    assert problems([kept], 1.0) == []
    assert len(problems([secret], 0.25)) == 1
    assert problems([summary(Kind.BAD, [an_end(stop="", phase="finished")], 1000)], 1.0)
    assert (late.in_time.count, late.reached) == (98, [5, 5, 21])


def test_the_drill_reports_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.json"
    code = main(60, 1.0, 1, 1, file)
    report = json.loads(file.read_bytes())
    assert code == bool(report["problems"])
    assert [s["kind"] for s in report["summaries"]] == [k.value for k in Kind]
    assert [len(ends) for ends in report["ends"].values()] == [1] * 4
    assert "bad slowly" in capsys.readouterr().out
    monkeypatch.setattr(rollout_report, "REACHED", -1.0)
    monkeypatch.setattr(rollout_report, "FIRST_STAGE", 0)
    assert main(60, 1.0, 1, 1, None) == 1
    assert "Not kept" in capsys.readouterr().out
