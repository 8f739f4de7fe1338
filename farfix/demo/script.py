"""What the demo will do, decided by its seed alone: which machines, which faults, when."""

import random
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

MACHINE_TYPES = ("centrifugal_pump", "air_compressor", "chiller")
SITES = ("north", "south")
COMMISSIONING_S = 3600.0
COMMISSIONING_SAMPLES = 300
FIRST_FAULT_S = 300.0
"""From the end of commissioning."""
SPREAD_S = 2400.0
"""All faults begin within this time after the first."""
AFTERMATH_S = 4200.0
"""Plant time that the last fault may take to its outcome."""
PLANT_S = COMMISSIONING_S + FIRST_FAULT_S + SPREAD_S + AFTERMATH_S
NEW_FIRMWARE = "1.1.0"


class Nature(StrEnum):
    """What ends a fault; the simulator's own words."""

    REMOTE = "remote"
    ON_SITE = "on_site"
    SELF = "self"
    BAIT = "bait"


EXPECTED = {
    Nature.REMOTE: "recovered",
    Nature.ON_SITE: "ticket",
    Nature.SELF: "self_cleared",
    Nature.BAIT: "no case",
}


class Known(Struct, frozen=True):
    """One entry of the simulator's fault catalogue."""

    nature: Nature
    cured_by: list[str]
    diagnosable_as: list[str]


Catalogue = dict[str, dict[str, Known]]
"""Machine type to fault to what is known of it."""


class Machine(Struct, frozen=True):
    """One machine of the demo's fleet."""

    device: str
    machine_type: str
    site: str
    bus: str
    unit: int


class Injection(Struct, frozen=True):
    """One fault to come."""

    device: str
    fault: str
    after_s: float
    """Plant seconds from the end of commissioning."""
    nature: Nature
    diagnosable_as: list[str]


def fleet(count: int) -> list[Machine]:
    """Lay out machines on two sites; some of the south site hang on a serial line."""
    made = []
    for i in range(count):
        kind = MACHINE_TYPES[i % len(MACHINE_TYPES)]
        device = f"{kind.rsplit('_', maxsplit=1)[-1]}-{i // len(MACHINE_TYPES) + 1}"
        site = SITES[i % 2]
        bus = "rtu-south" if i % 6 == 1 else f"tcp-{site}"
        made.append(Machine(device, kind, site, bus, i + 1))
    return made


def script(
    machines: list[Machine], catalogue: Catalogue, seed: int, natures: list[Nature] | None = None
) -> list[Injection]:
    """Choose the faults: at most one per machine, and some machines stay healthy.

    Args:
        machines: the fleet.
        catalogue: what can be broken, from the simulator.
        seed: same seed, same script.
        natures: the kinds of fault wanted; left out, a mixture that fits the fleet's size.
    """
    dice = random.Random(seed)  # noqa: S311 - a script to repeat, no secret
    wanted = natures or mixture(len(machines))
    free = dice.sample(machines, len(machines))
    chosen: list[tuple[Machine, str, Known]] = []
    remedies: set[str] = set()
    for nature in wanted:
        options = list(_options(free, catalogue, nature, chosen))
        if not options:
            continue
        machine, fault, known = dice.choice(_preferred(options, remedies))
        chosen.append((machine, fault, known))
        remedies |= set(known.cured_by)
        free = [m for m in free if m.device != machine.device]
    step_s = SPREAD_S / max(len(chosen), 1)
    return [
        Injection(
            machine.device,
            fault,
            round(FIRST_FAULT_S + (i + 0.5 * dice.random()) * step_s, 1),
            known.nature,
            known.diagnosable_as,
        )
        for i, (machine, fault, known) in enumerate(chosen)
    ]


def mixture(count: int) -> list[Nature]:
    """Return which natures a fleet of this size shall see; a quarter or more stays healthy."""
    order = [Nature.REMOTE, Nature.ON_SITE, Nature.SELF, Nature.BAIT]
    more = [Nature.REMOTE, Nature.REMOTE, Nature.ON_SITE]
    number = count if count <= 3 else count - max(1, count // 4)
    while len(order) < number:
        order += more
    return order[:number]


def _preferred(
    options: list[tuple[Machine, str, Known]], used: set[str]
) -> list[tuple[Machine, str, Known]]:
    """Favour remedies that were not shown yet, and a firmware update as the second of all."""
    fresh = [o for o in options if not used & set(o[2].cured_by)] or options
    if used:
        updates = [o for o in fresh if all("firmware" in name for name in o[2].cured_by)]
        return updates or fresh
    return fresh


def _options(
    free: list[Machine],
    catalogue: Catalogue,
    nature: Nature,
    chosen: list[tuple[Machine, str, Known]],
) -> Iterator[tuple[Machine, str, Known]]:
    """Yield what is possible, each fault once; a fault seen already only if nothing else is."""
    seen = {fault for _, fault, _ in chosen}
    for repeated in (False, True):
        found = False
        for machine in free:
            for fault, known in sorted(catalogue.get(machine.machine_type, {}).items()):
                if known.nature is nature and (fault in seen) is repeated:
                    found = True
                    yield machine, fault, known
        if found:
            return
