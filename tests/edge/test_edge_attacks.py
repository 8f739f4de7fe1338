"""Whoever holds the way to the agent, or some of the keys, moves no device.

Each attack is on a real repository behind a real web server; the agent has seen an honest state of
it before. It must say why it refuses, write nothing to the device, and, once the repository is
honest again, update as if nothing had been.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import MetaFile, Snapshot, Timestamp

from contract import timescale
from contract.commands import AnswerStatus
from edge.adapters.clock import Clock
from edge.adapters.releases import Releases
from tests.edge import repo as repos
from tests.edge.repo import IMAGE, Repo, Server, signer
from tests.edge.updating import updatable, update
from tests.peers import Mosquitto

pytestmark = pytest.mark.real

EVIL = b"evil" * (len(IMAGE) // 4)
Past = dict[str, bytes]
"""All files as they were when the repository was first published."""
Attack = Callable[[Repo, Server, Past], None]


def rollback_timestamp(repo: Repo, server: Server, past: Past) -> None:
    repo.files["/metadata/timestamp.json"] = past["/metadata/timestamp.json"]


def rollback_targets(repo: Repo, server: Server, past: Past) -> None:
    """Who publishes was taken over: an older list of releases is signed as the newest."""
    repo.version += 1
    snapshot = Snapshot(version=repo.version, expires=repos.in_days(7))
    snapshot.meta["targets.json"] = MetaFile(1)
    timestamp = Timestamp(
        version=repo.version, expires=repos.in_days(1), snapshot_meta=MetaFile(repo.version)
    )
    repo.put(f"{repo.version}.snapshot.json", snapshot, repo.keys["snapshot"])
    repo.put("timestamp.json", timestamp, repo.keys["timestamp"])


def freeze(repo: Repo, server: Server, past: Past) -> None:
    repo.publish(days=-0.01)


def foreign_timestamp(repo: Repo, server: Server, past: Past) -> None:
    repo.publish(by={"timestamp": [signer()]})


def foreign_targets(repo: Repo, server: Server, past: Past) -> None:
    repo.add("1.4.0", EVIL)
    repo.publish(by={"targets": [signer(), signer()]})


def one_of_two_keys(repo: Repo, server: Server, past: Past) -> None:
    """One targets key was stolen, and all that are online."""
    repo.add("1.4.0", EVIL)
    repo.publish(by={"targets": [repo.keys["targets"][0], signer()]})


def tampered_targets(repo: Repo, server: Server, past: Past) -> None:
    repo.add("1.4.0")
    repo.publish()
    name = f"/metadata/{repo.version}.targets.json"
    content = json.loads(repo.files[name])
    (target,) = [t for p, t in content["signed"]["targets"].items() if "1.4.0" in p]
    target["custom"]["min_version"] = "0.0.1"
    repo.files[name] = json.dumps(content).encode()


def tampered_image(repo: Repo, server: Server, past: Past) -> None:
    repo.add("1.4.0")
    repo.publish()
    server.spoil = lambda path, body: body.replace(b"\x00", b"?") if "targets/" in path else body


def swapped_images(repo: Repo, server: Server, past: Past) -> None:
    """Both images are signed, but under each other's name."""
    repo.add("1.4.0", EVIL)
    repo.add("1.4.1")
    repo.publish()
    images = [p for p in repo.files if "1.4." in p]
    one, other = images
    repo.files[one], repo.files[other] = repo.files[other], repo.files[one]


def endless_image(repo: Repo, server: Server, past: Past) -> None:
    repo.add("1.4.0")
    repo.publish()
    server.endless = "/targets/"


def endless_timestamp(repo: Repo, server: Server, past: Past) -> None:
    server.endless = "timestamp"


def mix_and_match(repo: Repo, server: Server, past: Past) -> None:
    """Each file is signed, but they never belonged together."""
    repo.add("1.4.0")
    repo.publish()
    repo.files[f"/metadata/{repo.version}.targets.json"] = past["/metadata/1.targets.json"]


def stolen_root(repo: Repo, server: Server, past: Past) -> None:
    """One of two root keys signs a new root with keys of its own."""
    stolen = repo.keys["root"][0]
    keys = repo.keys
    repo.keys = {role: [signer(), signer()] for role in repos.ROLES}
    repo.publish_root(signers=[stolen, *repo.keys["root"]])
    repo.add("1.4.0", EVIL)
    repo.publish()
    repo.keys = keys


def skipped_root(repo: Repo, server: Server, past: Past) -> None:
    """A root far ahead, so that the agent would never take an honest one again."""
    repo.roots = 998
    repo.publish_root()
    repo.files["/metadata/2.root.json"] = repo.files.pop("/metadata/999.root.json")


def old_key_after_rotation(repo: Repo, server: Server, past: Past) -> None:
    old = repo.keys["timestamp"]
    repo.keys["timestamp"] = [signer()]
    repo.publish_root()
    repo.publish(by={"timestamp": old})


def no_metadata(repo: Repo, server: Server, past: Past) -> None:
    repo.files["/metadata/timestamp.json"] = b"[" * 10_000


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (rollback_timestamp, "older than what was seen before"),
        (rollback_targets, "older than what was seen before"),
        (freeze, "timestamp metadata has expired"),
        (foreign_timestamp, "timestamp metadata has 0 of 1 signatures"),
        (foreign_targets, "targets metadata has 0 of 2 signatures"),
        (one_of_two_keys, "targets metadata has 1 of 2 signatures"),
        (tampered_targets, "targets metadata has 0 of 2 signatures"),
        (tampered_image, "not the one that was signed"),
        (swapped_images, "not the one that was signed"),
        (endless_image, "more is sent than was signed"),
        (endless_timestamp, "more is sent than was signed"),
        (mix_and_match, "of different times"),
        (stolen_root, "root metadata has 1 of 2 signatures"),
        (skipped_root, "older than what was seen before"),
        (old_key_after_rotation, "timestamp metadata has 0 of 1 signatures"),
        (no_metadata, "no TUF metadata"),
    ],
)
async def test_an_attack_is_refused_with_its_reason_and_moves_no_device(
    mosquitto: Mosquitto, tmp_path: Path, attack: Attack, said: str
) -> None:
    repo = Repo(keys={role: [signer(), signer()] for role in repos.ROLES}, threshold=2)
    repo.add("1.3.0", b"old")
    repo.publish()
    past = dict(repo.files)
    repo.publish()
    root = repos.root_file(tmp_path, repo)
    with repos.serving(repo) as server:
        before = Releases(root, tmp_path / "data" / "tuf", Clock(timescale.parse("")))
        await before.fetch(repos.ref(server, "1.3.0"))
        attack(repo, server, past)
        async with updatable(mosquitto, tmp_path, repo) as (the, bootloader):
            answer = await update(the, server)
            assert answer.status is AnswerStatus.REFUSED
            assert said in answer.reason
            assert bootloader.unit.writes == []
            make_honest(repo, server, attack)
            answer = await update(the, server, "1.5.0")
            assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.5.0")
            assert bootloader.image == IMAGE


def make_honest(repo: Repo, server: Server, attack: Attack) -> None:
    if attack in {stolen_root, skipped_root}:
        del repo.files["/metadata/2.root.json"]
    server.endless = ""
    server.spoil = lambda path, body: body
    repo.add("1.5.0")
    repo.publish()


async def test_keys_are_changed_with_an_overlap_also_for_an_agent_that_slept(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    repo = Repo()
    repo.add("1.4.0")
    root = repos.root_file(tmp_path, repo)
    for _ in range(3):
        before = repo.keys["root"]
        repo.keys = {role: [signer()] for role in repos.ROLES}
        repo.publish_root(signers=[*before, *repo.keys["root"]])
    repo.publish()
    assert root.read_bytes() == repo.files["/metadata/1.root.json"]
    with repos.serving(repo) as server:
        async with updatable(mosquitto, tmp_path, repo) as (the, _):
            answer = await update(the, server)
            assert (answer.status, answer.firmware) == (AnswerStatus.DONE, "1.4.0")


async def test_a_repository_whose_numbers_were_driven_up_recovers_with_a_new_root(
    tmp_path: Path,
) -> None:
    """Fast-forward: who held the online keys for a day cannot lock agents out for ever."""
    repo = Repo()
    repo.add("1.4.0")
    repo.version = 10**6
    repo.publish()
    root = repos.root_file(tmp_path, repo)
    with repos.serving(repo) as server:
        agent = Releases(root, tmp_path / "tuf", Clock(timescale.parse("")))
        await agent.fetch(repos.ref(server))
        repo.version = 1
        repo.keys |= {"timestamp": [signer()], "snapshot": [signer()]}
        repo.publish_root()
        repo.publish()
        assert (await agent.fetch(repos.ref(server))).image == IMAGE
