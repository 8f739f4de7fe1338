"""A fleet of a thousand machines for the browser, with something of everything going on."""

import random
from pathlib import Path

from cloud.core.states import Mode
from cloud.web.ports import Live
from models.monitor import State
from tests.web.fixture_world import START_NS, S, WorldDesk

KINDS = ("centrifugal_pump", "air_compressor", "chiller")
FAULTS = {
    "centrifugal_pump": "cavitation",
    "air_compressor": "clogged_intake_filter",
    "chiller": "setpoint_drift",
}
SITES = ("north", "south", "east", "west", "harbour", "airport")


def build(folder: Path, machines: int = 1000) -> WorldDesk:
    """Return a fleet of which one machine in twenty has a case."""
    desk = WorldDesk(folder)
    dice = random.Random(7)
    for i in range(machines):
        kind = KINDS[i % 3]
        device = f"{kind.split('_')[-1]}-{i:04}"
        desk.add_machine(device, kind, f"{kind.replace('_', ' ').capitalize()} {i}", SITES[i % 6])
        desk.lives[device] = live(device, dice)
        if i % 20 == 7:
            mode = Mode.SUGGEST if i % 60 == 7 else Mode.AUTO
            case = desk.open(device, FAULTS[kind], START_NS - 900 * S, mode)
            if i % 40 == 7:
                desk.observed(case)
    return desk


def live(device: str, dice: random.Random) -> Live:
    chance = dice.random()
    if chance < 0.02:
        return Live(device=device, online=False, last_ns=START_NS - 600 * S)
    if chance < 0.05:
        return Live(device=device, online=True, state=State.COMMISSIONING, progress=dice.random())
    score = abs(dice.gauss(0.35, 0.15))
    return Live(
        device=device, online=True, state=State.HEALTHY, score=score, progress=1.0, mode="run"
    )
