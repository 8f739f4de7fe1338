"""A gateway's console over a thousand machines, as a process of its own, to be measured.

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
from cloud.core.people import Role
from cloud.service.people import People
from cloud.web.app import create_app
from tests.web import fixture_fleet, fixture_rollouts
from tests.web.conftest import faces_over
from tests.web.fixture_people import GATEWAY_TOKEN, Crowd
from tests.web.fixture_world import WorldDesk


def main(folder: Path, port: int) -> None:
    world = fixture_fleet.build(folder)
    faces = faces_over(world, fixture_rollouts.build(), folder)
    app = create_app(faces, GATEWAY_TOKEN, Config(data_dir=folder))
    assert isinstance(faces.people, People)
    session = Crowd(faces.people).session(Role.OPERATOR)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    threading.Thread(target=obey, args=(world, server), daemon=True).start()
    said = {"address": f"http://127.0.0.1:{port}", "session": session}
    threading.Thread(target=tell, args=(server, said), daemon=True).start()
    server.run()
    world.close()


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
        main(Path(scratch), int(sys.argv[1]))
