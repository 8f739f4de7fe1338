"""Plant time: the clock that every program of one installation shares.

In service it is the wall clock. A demonstration may let it run faster; then every program maps
wall time to plant time by the same two numbers, so a minute of telemetry, a timeout and a
deadline shrink alike. Written ``SPEED@ORIGIN_NS``, for example ``60@1795330800000000000``.
"""

from msgspec import Struct

from contract.errors import Malformed


class Timescale(Struct, frozen=True):
    """Plant time equals wall time at ``origin_ns`` and runs ``speed`` times as fast from there."""

    speed: float = 1.0
    origin_ns: int = 0

    def plant_ns(self, wall_ns: int) -> int:
        """Return the plant's time at a wall time, in nanoseconds since 1970 UTC."""
        if self.speed == 1.0:
            return wall_ns
        return self.origin_ns + int((wall_ns - self.origin_ns) * self.speed)

    def wall_s(self, plant_s: float) -> float:
        """Return how many seconds of the wall clock a span of plant time takes."""
        return plant_s / self.speed

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.speed:g}@{self.origin_ns}"


def parse(text: str) -> Timescale:
    """Read ``SPEED@ORIGIN_NS``; the empty text is the wall clock.

    Raises:
        Malformed: not of that form, or a speed outside 0.1 to 1000.
    """
    if not text:
        return Timescale()
    speed, at, origin = text.partition("@")
    try:
        scale = Timescale(float(speed), int(origin))
    except ValueError as error:
        raise Malformed(f"timescale {text!r} is not SPEED@ORIGIN_NS") from error
    if not at or not 0.1 <= scale.speed <= 1000:
        raise Malformed(f"timescale {text!r}: the speed must lie between 0.1 and 1000")
    return scale
