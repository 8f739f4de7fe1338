"""What goes wrong in which run of the drill: drawn from a seed before anything begins."""

import random
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from cloud.core.rollout_states import UpdatePhase


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"
    CUT = "cut"
    """The connection breaks in the middle of the download, up to three times. In the last bytes,
    behind the payload, swupdate 2022.12 gives up instead of going on, and says so."""
    UNAVAILABLE = "unavailable"
    """The gateway's address answers 503 for a while."""
    KILL = "kill"
    """SIGKILL in the middle of the download; then the computer starts again."""
    RESTART = "restart"
    """The computer restarts after the installation and forgets to tell how it went; the client
    installs again, as its state was in memory."""
    WRONG_SIGNER = "wrong_signer"
    """The bundle is signed by somebody whom the computer does not know."""
    WRONG_HASH = "wrong_hash"
    """On the way, another hash is put into the offer. The client looks at it only after it has
    installed, so it says failure although the computer will start the new payload."""
    DOWNGRADE = "downgrade"
    """The client was told never to install anything so old."""
    CANCEL_EARLY = "cancel_early"
    """A person cancels before the client has asked."""
    CANCEL_LATE = "cancel_late"
    """A person cancels while the client downloads. It may be too late: then the client
    acknowledges what it does not do."""
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - the fault's name
    FALLS_BACK = "falls_back"
    """The new payload is not healthy: the computer goes back to the old one and says failure."""
    SAYS_FAILURE = "says_failure"
    """The new payload runs, and the client is told to say failure."""
    SAYS_SUCCESS = "says_success"
    """The computer goes back to the old payload, and the client is told to say success."""
    SAYS_NOTHING = "says_nothing"
    """The new payload runs, and nobody tells the gateway."""
    STOPPED = "stopped"
    """A person stops the rollout when the new payload already runs."""


_P = UpdatePhase
ENDS: dict[Fault, tuple[UpdatePhase, ...]] = {
    Fault.NONE: (_P.UPDATED,),
    Fault.CUT: (_P.UPDATED, _P.FAILED),
    Fault.UNAVAILABLE: (_P.UPDATED,),
    Fault.KILL: (_P.UPDATED,),
    Fault.RESTART: (_P.UPDATED,),
    Fault.WRONG_SIGNER: (_P.FAILED,),
    Fault.WRONG_HASH: (_P.UNCLEAR,),
    Fault.DOWNGRADE: (_P.FAILED,),
    Fault.CANCEL_EARLY: (_P.CANCELED, _P.SKIPPED),
    Fault.CANCEL_LATE: (_P.CANCELED, _P.UPDATED, _P.REVERTED, _P.UNCLEAR),
    Fault.WRONG_TOKEN: (_P.FAILED,),
    Fault.FALLS_BACK: (_P.FAILED,),
    Fault.SAYS_FAILURE: (_P.UNCLEAR,),
    Fault.SAYS_SUCCESS: (_P.UNCLEAR,),
    Fault.SAYS_NOTHING: (_P.UNCLEAR,),
    Fault.STOPPED: (_P.REVERTED,),
}
"""How an update may end. It must besides be what is really on the computer (`swu_judge`); but if
every update failed, that alone would hold."""


class Run(Struct, frozen=True, kw_only=True):
    """One update of one computer."""

    number: int
    fault: Fault
    release: int
    """Which of the releases, from 0."""
    shares: list[float]
    """Where in the download something happens, as shares of it, in order."""
    times: int
    """How often the gateway's address refuses."""
    boot_delay_s: float
    """From the end of the installation to the computer's restart."""
    hold_s: float
    """So long the download stands still while a person cancels it."""

    @property
    def device(self) -> str:
        """The computer's name: each run has a fresh one."""
        return f"computer-{self.number:04d}"


def runs(count: int, releases: int, seed: int) -> list[Run]:
    """Draw the runs. Each fault comes once in every round of as many runs as there are faults."""
    dice = random.Random(f"swupdate {seed}")  # noqa: S311 - to be repeated, no secret
    kinds: list[Fault] = []
    while len(kinds) < count:
        deck = list(Fault)
        dice.shuffle(deck)
        kinds += deck
    return [_run(number, fault, releases, dice) for number, fault in enumerate(kinds[:count], 1)]


def _run(number: int, fault: Fault, releases: int, dice: random.Random) -> Run:
    strikes = dice.randint(1, 3) if fault is Fault.CUT else 1
    return Run(
        number=number,
        fault=fault,
        release=dice.randrange(releases),
        shares=sorted(dice.uniform(0.0, 0.999) for _ in range(strikes)),
        times=dice.randint(1, 5),
        boot_delay_s=round(dice.uniform(0.0, 1.5), 2),
        hold_s=round(dice.uniform(0.0, 4.0), 2),
    )


def sizes(count: int, smallest: int, largest: int, seed: int) -> Sequence[int]:
    """Draw sizes of payloads in bytes; as many small ones as large ones, by their magnitude."""
    dice = random.Random(f"sizes {seed}")  # noqa: S311 - to be repeated, no secret
    drawn = {smallest, largest}
    while len(drawn) < count:
        drawn.add(int(smallest * (largest / smallest) ** dice.random()))
    return sorted(drawn)
