"""The few numbers of the detector, each with its reason."""

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True):
    """How a machine is learned and judged. The defaults hold for every machine type.

    "Samples" are readings at the interval that commissioning measured, so the same settings serve
    a machine polled every second and one polled every minute.
    """

    commissioning_s: float = 3600.0
    """Judged plant time that the reference is learned from."""
    commissioning_samples: int = 300
    """Least number of judged readings in it; a few per number that is estimated."""
    smoothing_samples: float = 10.0
    """Time constant of the smoothed residual: ten readings lower the noise 4.5-fold."""
    alarm_z: float = 4.5
    """Alarm level as a quantile of healthy running: 4.5 sigma is about 3 in a million readings."""
    model_margin: float = 1.5
    """With drivers the alarm level is this many times higher: what an hour has shown of a plant's
    day is never all of it. Seen in the hours after commissioning, begun at all hours of the day:
    33 false episodes per 1,000 machine-hours without it, none in 180 hours with it."""
    clear_below: float = 0.6
    """An alarm ends when the score stays below this share of the alarm level (hysteresis)."""
    confirm_samples: int = 3
    """Readings above the level, of one more, before it is an alarm: one spike is not a fault."""
    clear_samples: int = 6
    """Judged readings in a row below ``clear_below`` before the alarm ends."""
    settle_s: float = 60.0
    """Not judged for this long after a change of mode or a jump of a driver."""
    driver_sigmas: float = 50.0
    """What a quarter of a driver's range may do to a response, in noise sigmas, if never seen."""
    curve_sigmas: float = 8.0
    """The same for the curvature of the response."""
    mode_sigmas: float = 2.0
    """What a mode may do beyond its drivers, and what it leaves behind, if never seen."""
    model_error: float = 0.02
    """No model is exact: this share of what it explains may be wrong at any time."""
    unfamiliar: float = 2.0
    """A response is left out while conditions never seen widen its expectation so far that this
    many sigmas of one reading would pass as normal."""
    stuck_s: float = 60.0
    """Least time a number must stand still to be called stuck."""


DEFAULT = Settings()
