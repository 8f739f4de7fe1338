"""A gateway's console as a process of its own, to be measured and to be shown.

Says in one line of JSON where it is and who is signed in; then sets scores as told on stdin.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from msgspec.structs import replace

from cloud.config import Config
from cloud.core import ledger
from cloud.core.people import Role
from cloud.core.states import Phase
from cloud.service.people import People
from cloud.service.value import Value
from cloud.web.app import create_app
from tests.web import fixture_fleet, fixture_rollouts, fixture_world
from tests.web.conftest import faces_over
from tests.web.fixture_people import GATEWAY_TOKEN, Crowd
from tests.web.fixture_world import WorldDesk

PRICES = ledger.Prices(visit=480.0, downtime_per_hour=150.0, downtime_h_per_visit=6.0)


def main(folder: Path, kind: str, port: int) -> None:
    """Serve the ``thousand`` or the ``lively`` world."""
    world = fixture_fleet.build(folder) if kind == "thousand" else lively(folder)
    faces = faces_over(world, fixture_rollouts.build(), folder)
    assert isinstance(faces.value, Value)
    faces.value.take(worth(world))
    app = create_app(faces, GATEWAY_TOKEN, Config(data_dir=folder))
    assert isinstance(faces.people, People)
    session = Crowd(faces.people).session(Role.ENGINEER)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    threading.Thread(target=obey, args=(world, server), daemon=True).start()
    said = {"address": f"http://127.0.0.1:{port}", "session": session}
    threading.Thread(target=tell, args=(server, said), daemon=True).start()
    server.run()
    world.close()


def lively(folder: Path) -> WorldDesk:
    """The lively world at the clock's own speed, with no machine that is called a script."""
    world = fixture_world.build(folder)
    world.add_machine("pump-7", "centrifugal_pump", "Drainage pump", "south")
    return world


def worth(world: WorldDesk) -> list[ledger.Entry]:
    """What the ended cases are worth, by the rule that counts."""
    found = []
    for row in world.store.cases(limit=200):
        case = world.case(row.case_id)
        if not case.open:
            found += ledger.entries(replace(case, phase=Phase.OBSERVING), case, "B", PRICES)
    return found


def tell(server: uvicorn.Server, said: dict[str, str]) -> None:
    while not server.started:
        time.sleep(0.02)
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def obey(world: WorldDesk, server: uvicorn.Server) -> None:
    """Set scores, one ``DEVICE SCORE`` a line, until stdin ends."""
    for line in sys.stdin:
        device, score = line.split()
        world.lives[device] = replace(world.lives[device], score=float(score))
    server.should_exit = True


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch), sys.argv[1], int(sys.argv[2]))
