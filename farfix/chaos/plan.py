"""What a drill will do, decided by its seed alone: who is struck, when and how.

Its clock is the number of samples taken, so everything planned fits into the run, however fast
this computer is. How long something lasts is in seconds of the wall clock: networks and restarts
do not run faster because a plant is simulated faster.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import cycle
from typing import TypeVar

from msgspec import Struct

from farfix.chaos.proxy import Toxics

KILL_EVERY = 3000
"""Samples; 34 kills in 100,000."""
PAUSE_EVERY = 15_000
RESTART_EVERY = 25_000
TROUBLE_EVERY = 12_500
"""Samples between two troubles of one kind."""
PAUSES_MIN = 2
DOWN_S = (0.2, 2.5)
"""How long a killed program stays dead."""
PAUSE_S = (2.0, 15.0)
PARTITION_S = (3.0, 20.0)
LOSSY_S = (4.0, 10.0)
SLOW_S = (4.0, 12.0)
RESET_S = (0.5, 2.5)
"""Between two resets of a lossy link."""

T = TypeVar("T")


class Program(StrEnum):
    """Whom it may hit."""

    EDGE = "edge"
    BROKER = "broker"
    CLOUD = "cloud"
    STORE = "store"


class Network(StrEnum):
    """What may happen to a link."""

    LOSSY = "lossy"
    """Resets, cuts in the middle of a message, tiny segments."""
    PARTITION = "partition"
    """Nothing passes, and nobody is told."""
    SLOW = "slow"
    """Latency, jitter and little bandwidth."""


class Act(StrEnum):
    """What is done to a program."""

    KILL = "kill"
    """SIGKILL; after a while it is started again."""
    PAUSE = "pause"
    """SIGSTOP, later SIGCONT."""
    RESTART = "restart"
    """SIGTERM, and started again as soon as it has ended."""


class Strike(Struct, frozen=True):
    """One program is hit."""

    at_sample: int
    program: Program
    act: Act
    part: str
    """Which process of it."""
    last_s: float
    """How long it stays dead or stopped."""

    @property
    def kind(self) -> str:
        """What must have happened at least once if it was planned."""
        return f"{self.act} {self.program}"


class Trouble(Struct, frozen=True):
    """One link is made bad for a while."""

    at_sample: int
    link: str
    network: Network
    last_s: float
    toxics: Toxics
    resets_s: list[float]
    """When all its connections are reset, from the beginning of the trouble."""

    @property
    def kind(self) -> str:
        """What must have happened at least once if it was planned."""
        return f"{self.network} {self.link}"


class Plan(Struct, frozen=True):
    """Everything that a drill will do, in order; strikes and troubles overlap."""

    strikes: list[Strike]
    troubles: list[Trouble]

    def kinds(self) -> list[str]:
        """Return the kinds that must all fire."""
        return sorted({s.kind for s in self.strikes} | {t.kind for t in self.troubles})


def make(
    samples: int,
    parts: Mapping[Program, Sequence[str]],
    links: Sequence[str],
    networks: Sequence[Network],
    seed: int,
) -> Plan:
    """Plan a drill.

    Args:
        samples: how many will be taken while it goes on.
        parts: whom it may hit, and the processes of each.
        links: which links may be made bad.
        networks: how they may be made bad.
        seed: same seed, same plan.
    """
    dice = random.Random(seed)  # noqa: S311 - a plan to repeat, no secret
    return Plan(_strikes(samples, parts, dice), _troubles(samples, links, networks, dice))


def _strikes(
    samples: int, parts: Mapping[Program, Sequence[str]], dice: random.Random
) -> list[Strike]:
    programs = sorted(parts)
    if not programs:
        return []
    kills = max(-(-samples // KILL_EVERY), len(programs))
    acts = [Act.KILL] * kills
    acts += [Act.PAUSE] * max(samples // PAUSE_EVERY, PAUSES_MIN)
    acts += [Act.RESTART] * max(samples // RESTART_EVERY, 1)
    # each act goes round the programs, each program's acts go round its processes
    rounds = {act: _dealt(programs, dice) for act in Act}
    turns = {program: _dealt(parts[program], dice) for program in programs}
    made = []
    dice.shuffle(acts)
    for at, act in zip(_spread(samples, len(acts), dice), acts, strict=True):
        program = next(rounds[act])
        made.append(Strike(at, program, act, next(turns[program]), _lasting(act, dice)))
    return made


def _troubles(
    samples: int, links: Sequence[str], networks: Sequence[Network], dice: random.Random
) -> list[Trouble]:
    if not links:
        return []
    wanted = [n for n in networks for _ in range(max(samples // TROUBLE_EVERY, 1))]
    dice.shuffle(wanted)
    rounds = {network: _dealt(links, dice) for network in networks}
    return [
        _trouble(at, next(rounds[network]), network, dice)
        for at, network in zip(_spread(samples, len(wanted), dice), wanted, strict=True)
    ]


def _trouble(at: int, link: str, network: Network, dice: random.Random) -> Trouble:
    match network:
        case Network.LOSSY:
            last_s = dice.uniform(*LOSSY_S)
            toxics = Toxics(
                slice_bytes=dice.choice([1, 7, 100, 1400]),
                limit_bytes=dice.randrange(2_000, 60_000),
            )
            return Trouble(at, link, network, last_s, toxics, list(_resets(last_s, dice)))
        case Network.PARTITION:
            last_s = dice.uniform(*PARTITION_S)
            return Trouble(at, link, network, last_s, Toxics(timeout=True), [])
        case Network.SLOW:
            toxics = Toxics(
                latency_s=dice.uniform(0.02, 0.3),
                jitter_s=dice.uniform(0.0, 0.3),
                bandwidth_bytes_s=dice.uniform(20_000, 200_000),
            )
            return Trouble(at, link, network, dice.uniform(*SLOW_S), toxics, [])


def _resets(last_s: float, dice: random.Random) -> Iterator[float]:
    at_s = dice.uniform(0.0, 1.0)
    while at_s < last_s:
        yield at_s
        at_s += dice.uniform(*RESET_S)


def _lasting(act: Act, dice: random.Random) -> float:
    if act is Act.RESTART:
        return 0.0
    low, high = DOWN_S if act is Act.KILL else PAUSE_S
    return low + (high - low) * dice.random() ** 2  # short ones more often


def _spread(samples: int, count: int, dice: random.Random) -> list[int]:
    """Return moments that increase and leave no long quiet time."""
    return [int((i + dice.random()) * samples / count) for i in range(count)]


def _dealt(things: Sequence[T], dice: random.Random) -> Iterator[T]:
    """Yield things for ever, each as often as the others, in an order of its own."""
    return cycle(dice.sample(list(things), len(things)))
