"""The reference's mathematics on cases with a known answer."""

import msgspec
import numpy as np
import pytest

from contract.telemetry import Reading
from models import monitor_kernel as kernel
from models.monitor import Monitor
from models.reference import chi, pack, unpack
from models.settings import Settings
from tests.models import plant


@pytest.mark.parametrize(
    ("degrees", "z", "quantile"),
    [(2, 1.2816, 4.605), (5, 2.3263, 15.086), (10, 3.0902, 29.588)],
)
def test_chi_square_quantiles(degrees: int, z: float, quantile: float) -> None:
    """Table values at 0.9, 0.99 and 0.999."""
    assert chi(degrees, z) ** 2 == pytest.approx(quantile, rel=0.02)


def test_the_residual_has_the_noise_of_the_plant() -> None:
    monitor = Monitor(plant.machine())
    for r in plant.readings(1.3, seed=8):
        monitor.update(r)
    reference = monitor._state.reference
    assert reference is not None
    ratio = reference.sigma / np.array(list(plant.NOISE.values()))
    assert np.all((ratio > 0.8) & (ratio < 1.6))


def test_conditions_never_seen_widen_what_is_expected() -> None:
    monitor = Monitor(plant.machine())
    spread = []
    for r in plant.readings(1.7, seed=8, steps=((1.4, 40),)):
        monitor.update(r)
        now = monitor._state.verdict.now
        if now.size and not np.isnan(now[kernel.EXPECTED]).any():
            spread.append(now[kernel.WIDE].max())
    assert max(spread[-100:]) > 3 * max(spread[:100])


def test_a_wandering_response_is_not_forgiven_without_end() -> None:
    bare = msgspec.structs.replace(
        plant.machine(),
        signals=[s for s in plant.machine().signals if s.name == "metal"],
        faults=[],
    )
    steps = np.random.default_rng(1).normal(size=3000)
    monitor = Monitor(bare, Settings(commissioning_s=1500))
    spread = []
    for i, value in enumerate(60 + 0.2 * np.cumsum(steps)):
        at_ns = plant.START_NS + i * 5_000_000_000
        monitor.update(Reading(at_ns, {"metal": float(value)}, {}))
        state = monitor._state
        if state.reference is not None:
            assert state.reference.drift[0] > 0
            spread.append(state.verdict.now[kernel.WIDE, 0])
    assert spread[200] > 1.05 * spread[1]
    assert spread[400] == spread[-1]


def test_packed_matrices_give_the_same_leverage() -> None:
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(3, 9, 5))
    matrices = wide @ wide.transpose(0, 2, 1) + np.eye(9)
    packed = pack(matrices)
    assert packed.shape == (3, 45)
    assert np.allclose(unpack(packed, 9), matrices, rtol=1e-15, atol=0)
