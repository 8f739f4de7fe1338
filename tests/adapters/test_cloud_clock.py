"""Plant time of the gateway."""

import time

from cloud.adapters.clock import PlantClock
from contract import timescale


def test_in_service_plant_time_is_wall_time() -> None:
    before = time.time_ns()  # noqa: TID251 (what the clock is compared with)
    now = PlantClock().now_ns()
    assert before <= now <= time.time_ns()  # noqa: TID251 (as above)


async def test_a_demonstration_runs_faster() -> None:
    origin_ns = 1_795_000_000 * 10**9
    clock = PlantClock(timescale.parse(f"500@{origin_ns}"))
    wall, plant = time.monotonic(), clock.now_ns()
    await clock.sleep(50)
    wall_s, plant_s = time.monotonic() - wall, (clock.now_ns() - plant) / 1e9
    assert 0.09 <= wall_s < 50
    assert plant_s >= 49
