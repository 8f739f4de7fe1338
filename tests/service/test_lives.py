"""Lives end with reports, teach the next ones, and survive restarts."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from cloud.core.hours import HOUR_NS, Ended
from cloud.service.learning import Learning
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from contract import machines
from contract.errors import Unreachable
from contract.machines import Role
from contract.tickets import Label, Part
from tests.service.test_desk import DEVICE, desk_of, parts

PUMP = machines.library()["centrifugal_pump"]
SIGNALS = [s.name for s in PUMP.with_role(Role.RESPONSE)]
LEAD = {"A": 4.0, "B": 24.0, "C": 72.0}
LIFE_H = 300


def lives_of(made: Parts) -> Lives:
    return Lives(made, LEAD)  # type: ignore[arg-type]  # tiers, as text


def wear(lives: Lives, from_h: int, hours: int, rng: np.random.Generator, left: int = 0) -> None:
    """Let the machine run; it walks away the more, the nearer its end."""
    for hour in range(hours):
        left_h = hours + left - hour
        noise = rng.normal(0, 0.3, len(SIGNALS))
        noise[0] += 20 * math.exp(-left_h / 80)
        means = dict(zip(SIGNALS, noise.tolist(), strict=True))
        lives.hour(DEVICE, Ended((from_h + hour + 1) * HOUR_NS, means))


def report(number: int, at_h: int, *, replaced: bool = True) -> Label:
    return Label(
        case=f"pump-1-{number}",
        device=DEVICE,
        machine_type=PUMP.name,
        fault="bearing_wear",
        diagnosed="unknown",
        from_ns=0,
        to_ns=at_h * HOUR_NS,
        source="closing_report",
        parts_used=[Part("BRG-1", "Bearing")] if replaced else [],
    )


def failures(lives: Lives) -> int:
    return lives._kinds[PUMP.name].prognosis.failures


def test_five_failures_give_a_date_and_a_restart_keeps_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with parts(tmp_path) as made:
        lives = lives_of(made)
        learning = Learning(made, lives)
        for number in range(6):
            assert lives.forecast(DEVICE) is None or number >= 5
            wear(lives, number * LIFE_H, LIFE_H, rng)
            for _ in range(2):  # an effect may be repeated
                learning.take(report(number, (number + 1) * LIFE_H))
        assert failures(lives) == 6
        assert lives.forecast(DEVICE) is None, "a new life begins without a word"
        wear(lives, 6 * LIFE_H, LIFE_H - 60, rng, left=60)
        found = lives.forecast(DEVICE)
        assert found is not None
        left_h = (found.expected_ns - found.told_ns) / HOUR_NS
        assert 20 <= left_h <= 120
        assert found.told_ns == (7 * LIFE_H - 60) * HOUR_NS
        lives.save()
    with parts(tmp_path) as made:
        again = lives_of(made)
        assert again.forecast(DEVICE) == found
        wear(again, 6 * LIFE_H, LIFE_H - 60, rng, left=60)  # the journal is replayed
        assert again.forecast(DEVICE) == found
        assert desk_of(made).forecast("nobody") is None


def test_a_report_without_a_part_retires_the_life(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        lives = lives_of(made)
        learning = Learning(made, lives)
        wear(lives, 0, 50, np.random.default_rng(1))
        learning.take(report(1, 50, replaced=False))
        assert failures(lives) == 0
        assert lives._kinds[PUMP.name].born_ns == {DEVICE: 50 * HOUR_NS}


def test_an_end_that_could_not_be_saved_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parts(tmp_path) as made:
        lives = lives_of(made)
        learning = Learning(made, lives)
        wear(lives, 0, 50, np.random.default_rng(1))

        def away(*_: object) -> None:
            raise Unreachable("database: locked")

        with monkeypatch.context() as patched:
            patched.setattr(made.store.memory, "put_label", away)
            with pytest.raises(Unreachable):
                learning.take(report(1, 50))
        assert failures(lives) == 0
        learning.take(report(1, 50))
        assert failures(lives) == 1
    with parts(tmp_path) as made:
        assert failures(lives_of(made)) == 1, "the label and the end are saved together"


def test_lives_that_cannot_be_read_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with parts(tmp_path) as made:
        made.store.memory.put_models({"prognosis/centrifugal_pump": b"?"})
        with caplog.at_level(logging.WARNING):
            assert failures(lives_of(made)) == 0
        assert "learnt anew" in caplog.text
