"""The agent's clock: plant time."""

import asyncio
import time

from contract.timescale import Timescale


class Clock:
    """Plant time for stamps and expiries, and a clock that never jumps for intervals."""

    def __init__(self, scale: Timescale) -> None:
        self.scale = scale

    def now_ns(self) -> int:
        """Return the plant's time, in nanoseconds since 1970 UTC."""
        return self.scale.plant_ns(time.time_ns())  # noqa: TID251 - this is the clock adapter

    def elapsed_ns(self) -> int:
        """Return plant nanoseconds since some instant; goes on evenly when the clock is set."""
        return int(time.monotonic_ns() * self.scale.speed)

    def steady_s(self) -> float:
        """Return wall seconds since some instant, for the network, which knows no plant time."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Return this computer's time, in seconds since 1970 UTC: who signs goes by no plant."""
        return time.time()  # noqa: TID251 - this is the clock adapter

    def plant_ns(self, wall_s: float) -> int:
        """Return how much plant time passes in some seconds of the wall clock."""
        return int(wall_s * self.scale.speed * 1e9)

    async def sleep(self, plant_s: float) -> None:
        """Wait for a span of plant time."""
        await asyncio.sleep(max(0.0, self.scale.wall_s(plant_s)))

    async def sleep_until(self, elapsed_ns: int) -> None:
        """Wait until `elapsed_ns` has come so far."""
        await self.sleep((elapsed_ns - self.elapsed_ns()) / 1e9)
