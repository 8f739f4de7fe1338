"""What people ask for when they bring a release to machines: selection, stages, limits, window.

Shares are percent, times are in seconds. `cloud.core.rollout.check` tells what makes no sense.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

Percent = Annotated[float, Meta(gt=0, le=100)]
Seconds = Annotated[float, Meta(ge=0, le=30 * 86400)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Person = Annotated[str, Meta(min_length=1, max_length=80)]
Why = Annotated[str, Meta(max_length=1000)]

ACTIONS_PER_ROLLOUT = 100_000
"""An action's number is ``rollout number * ACTIONS_PER_ROLLOUT + n``: a whole number below 2**31,
as DDI clients parse it, and never used twice."""
ROLLOUTS_MAX = 2**31 // ACTIONS_PER_ROLLOUT - 1
MACHINES_MAX = 20_000


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that people write: a field that is not known is a typing error."""


class Selection(_Table, frozen=True, kw_only=True):
    """Which machines; every list that is given must fit, an empty one fits all."""

    sites: list[str] = []
    devices: list[str] = []
    labels: list[str] = []
    """The machine has all of them."""
    hardware: list[int] = []
    versions: list[str] = []
    """Firmware that runs now."""


class Stage(_Table, frozen=True, kw_only=True):
    """How many of the selected machines have the release when the stage ends.

    All stages so far together. Exactly one of `count` and `percent` is given.
    """

    count: Count | None = None
    percent: Percent | None = None
    soak_s: Seconds = 3600.0
    """So long every machine of the stage is watched before the next stage begins."""


class Ramp(_Table, frozen=True, kw_only=True):
    """How fast machines are offered the release: AWS IoT Jobs' exponential rate."""

    base_per_minute: Annotated[float, Meta(gt=0, le=10_000)] = 10.0
    factor: Annotated[float, Meta(ge=1, le=5)] = 2.0
    every: Count = 20
    """The rate grows by the factor each time so many more machines run the release."""
    max_per_minute: Annotated[float, Meta(gt=0, le=10_000)] = 100.0


class Window(_Table, frozen=True, kw_only=True):
    """A maintenance window, in the local time of a time zone. Outside it no machine is begun."""

    weekdays: list[Annotated[int, Meta(ge=0, le=6)]] = []
    """0 is Monday; empty is every day. The day on which the window opens."""
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "22:00"
    hours: Annotated[float, Meta(gt=0, le=24)] = 6.0
    timezone: str = "UTC"
    """An IANA name such as ``Europe/Berlin``."""


class Limits(_Table, frozen=True, kw_only=True):
    """When to stop for what installers and machines plainly say, and how patient to be."""

    failed_percent: Percent = 20.0
    """Of machines that came to an end or are watched: failed, unclear or plainly unhealthy ..."""
    failed_min: Count = 2
    """... and at least so many."""
    timed_out_percent: Percent = 40.0
    """The same for machines that never took it, never came back or fell silent."""
    timed_out_min: Count = 3
    attempts_max: Annotated[int, Meta(ge=1, le=10)] = 2
    """So often one machine is tried."""
    retry_s: Seconds = 600.0
    offer_s: Seconds = 86_400.0
    """A machine takes the release within this time, or has timed out."""
    install_s: Seconds = 3600.0
    """From taking it to a reported end."""
    readback_s: Seconds = 900.0
    """From a reported end to the version being read from the machine."""


class Gate(_Table, frozen=True, kw_only=True):
    """The comparison of updated machines with machines not yet updated (`models.harm`)."""

    false_stop: Annotated[float, Meta(gt=0, le=0.1)] = 0.005
    """Chance that a release which changes nothing is ever stopped by the comparison."""
    looks: list[Annotated[float, Meta(gt=0, le=1)]] = field(default_factory=lambda: [0.2, 0.5, 1.0])
    """A machine's evidence is taken at these shares of the soak time."""
    settle_s: Seconds = 300.0
    """After the new version is read, the machine may be out of its usual running so long."""
    baseline_s: Seconds = 3600.0
    """Its running so long before the update is what it is compared with."""
    controls_min: Count = 20
    """With fewer machines to compare with, only `Limits` judge."""


class Policy(_Table, frozen=True, kw_only=True):
    """How carefully a release is brought out."""

    stages: Annotated[list[Stage], Meta(min_length=1, max_length=20)]
    ramp: Ramp = Ramp()
    window: Window | None = None
    limits: Limits = Limits()
    gate: Gate = Gate()
    revert: bool = True
    """A stop also brings the machines that were updated back to what they ran before."""


DEFAULT_POLICY = Policy(
    stages=[
        Stage(count=5), Stage(percent=2), Stage(percent=10), Stage(percent=40), Stage(percent=100),
    ]
)  # fmt: skip


class Order(_Table, frozen=True, kw_only=True):
    """What a person asks for."""

    machine_type: str
    version: str
    selection: Selection = Selection()
    policy: Policy = DEFAULT_POLICY
    title: Annotated[str, Meta(max_length=200)] = ""


class Candidate(Struct, frozen=True, kw_only=True):
    """One machine, as selection and staging see it."""

    device: str
    site: str
    labels: list[str]
    hardware: int
    """Revision; 0: not known."""
    version: str
    """Read from the machine; empty: not known."""
    quarantined: str = ""
    """Why it takes no updates, in words."""
