"""A gateway that dies while it takes releases in has the old ones afterwards, or the new ones."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.adapters.artifacts import digests
from tests.adapters.release_room import Place, Room, artifact_path, incoming

ROUNDS = 8
BUNDLE_BYTES = 300_000
TAKER = """
import sys
from pathlib import Path
from cloud.adapters import database
from cloud.adapters.repository import Repository
url, folder, handed_in = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
root = (handed_in / "1.root.json").read_bytes()
repository = Repository(database.open_engine(url), folder, root)
print("ready", flush=True)
for number, _ in enumerate(sys.stdin, start=1):
    for file in sorted((handed_in / f"artifacts{number}").iterdir()):
        name = file.name.replace("+", "/")
        upload = repository.incoming / "upload"
        upload.write_bytes(file.read_bytes())
        repository.put_artifact(name, upload)
    metadata = (handed_in / f"metadata{number}").iterdir()
    repository.publish({file.name: file.read_bytes() for file in metadata})
    print(number, flush=True)
"""


def hand_in(room: Room, folder: Path) -> None:
    """Sign many publications; each holds one more release, and the same bytes for each version."""
    (folder / "1.root.json").write_bytes(room.first_root)
    noise = random.Random(1)
    for number in range(1, ROUNDS + 1):
        bundle = noise.randbytes(BUNDLE_BYTES)
        name = room.add(f"1.0.{number}", bundle, format="swu")
        artifacts, metadata = folder / f"artifacts{number}", folder / f"metadata{number}"
        artifacts.mkdir()
        (artifacts / name.replace("/", "+")).write_bytes(bundle)
        metadata.mkdir()
        for file, data in room.make().items():
            (metadata / file).write_bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_gateway_has_all_of_a_publication_or_nothing(
    database_url: str, settle: Callable[[], None], tmp_path: Path, seed: int
) -> None:
    room, handed_in = Room(), tmp_path / "handed_in"
    handed_in.mkdir()
    hand_in(room, handed_in)
    place = Place(database_url, tmp_path / "artifacts")
    command = [sys.executable, "-c", TAKER, database_url, str(place.folder), str(handed_in)]
    chance = random.Random(seed)
    whole = chance.randrange(1, ROUNDS)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        begun = time.monotonic()
        for number in range(1, whole + 1):
            child.stdin.write("next\n")
            assert child.stdout.readline() == f"{number}\n"
        child.stdin.write("next\n")
        time.sleep(chance.uniform(0.0, (time.monotonic() - begun) / whole))
        os.kill(child.pid, signal.SIGKILL)
        reported = whole + len(child.stdout.readlines())
    settle()
    opened = place.open(room.first_root)
    assert opened.trouble() == ""
    state = opened.state()
    found = state.timestamp_version if state else 0
    assert found in (reported, reported + 1), "what was reported as published is gone"
    kept = [each.release for each in opened.kept()]
    assert [release.version for release in kept] == [f"1.0.{n}" for n in range(found, 0, -1)]
    for release in kept:
        path = opened.path_of(release)
        assert path is not None
        assert digests(path).sha256 == release.sha256
    for file in place.folder.iterdir():
        assert file.is_dir() or digests(file).sha256 == file.name, "a file is whole or not there"
    assert list(opened.incoming.iterdir()) == []
    opened.put_artifact(artifact_path(b"more", "9.0.0"), incoming(opened, b"more"))
    place.engine.dispose()
