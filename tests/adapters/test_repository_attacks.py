"""What TUF is there to stop, tried on `publish`: each is refused in words, and changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.release_room import (
    DAY_NS,
    IMAGE,
    Place,
    Room,
    key,
    published,
    refused,
)

Files = dict[str, bytes]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(f"sqlite:///{tmp_path / 'cases.db'}", tmp_path / "artifacts")
    yield made
    made.engine.dispose()


# Rollback and freeze.


def test_a_replayed_timestamp_is_refused(place: Place) -> None:
    room, repository = published(place)
    old = room.make()
    repository.publish(room.make())
    refused(place, repository, old, "older than what was seen before")


def test_a_replay_is_refused_after_a_restart_and_after_expiry(place: Place) -> None:
    room, repository = published(place)
    room.days |= {"timestamp": 60, "snapshot": 60}
    old = room.make()
    room.days |= {"timestamp": 1, "snapshot": 1}
    repository.publish(room.make())
    place.now_ns += 2 * DAY_NS
    opened = place.open(room.first_root)
    refused(place, opened, old, "older than what was seen before")


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_new_timestamp_leads_to_nothing_older(place: Place, role: str) -> None:
    room, repository = published(place)
    repository.publish(room.make())
    room.versions[role] -= 2
    refused(place, repository, room.make(), "older than what was seen before")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_expired_metadata_is_refused(place: Place, role: str) -> None:
    room, repository = published(place)
    room.days[role] = -1
    if role == "root":
        room.rotate(room.keys["root"])
    refused(place, repository, room.make(), "has expired")


def test_the_same_number_never_says_something_else(place: Place) -> None:
    room, repository = published(place)
    room.add("2.0.0", b"new")
    room.upload(repository)
    refused(place, repository, room.make(same=["targets"]), "1.targets.json was published before")
    room.versions["timestamp"] -= 1
    refused(place, repository, room.make(same=["timestamp"]), "published before")


def test_new_signatures_under_the_same_number_are_fine(place: Place) -> None:
    room, repository = published(place)
    second = key()
    room.keys["targets"].append(second)
    room.rotate(room.keys["root"])
    files = room.make(same=["targets"])
    assert files["1.targets.json"] != repository.metadata("1.targets.json")
    repository.publish(files)
    assert repository.metadata("1.targets.json") == files["1.targets.json"]


# Keys.


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_stranger_s_key_signs_nothing(place: Place, role: str) -> None:
    room, repository = published(place)
    files = room.make(**{role: [key()]})
    refused(place, repository, files, f"{role} metadata has 0 of 1 signatures")


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_an_online_key_signs_no_targets(place: Place, role: str) -> None:
    room, repository = published(place)
    refused(place, repository, room.make(targets=room.keys[role]), "targets metadata has 0 of 1")


def test_fewer_keys_than_the_threshold_sign_nothing(place: Place) -> None:
    room = Room()
    room.keys["targets"] = [key(), key(), key()]
    room.thresholds["targets"] = 2
    room.rotate(room.keys["root"])
    room.add("1.0.0", IMAGE)
    repository = place.open(room.first_root)
    room.upload(repository)
    one, two, three = room.keys["targets"]
    refused(place, repository, room.make(targets=[one]), "targets metadata has 1 of 2 signatures")
    refused(place, repository, room.make(targets=[one, key()]), "has 1 of 2")
    repository.publish(room.make(targets=[three, two]))
    assert len(repository.kept()) == 1


def test_fewer_root_keys_than_the_threshold_make_no_root(place: Place) -> None:
    room, repository = published(place)
    thief = room.keys["root"][0]
    room.keys["targets"] = [key()]
    room.rotate([thief])
    refused(place, repository, room.make(), "root metadata has 1 of 2 signatures")


def test_a_root_that_only_new_keys_have_signed_is_refused(place: Place) -> None:
    room, repository = published(place)
    room.keys["root"] = [key(), key(), key()]
    room.rotate(room.keys["root"])
    refused(place, repository, room.make(), "root metadata has 0 of 2 signatures")


def test_keys_rotate_with_overlap(place: Place) -> None:
    room, repository = published(place)
    old_roots, old_targets = room.keys["root"], room.keys["targets"]
    room.keys["root"] = [key(), key(), old_roots[0]]
    room.keys["targets"] = [*old_targets, key()]
    room.rotate([*old_roots, *room.keys["root"][:2]])
    repository.publish(room.make(targets=old_targets))
    repository.publish(room.make(targets=room.keys["targets"][1:]))
    room.keys["targets"] = room.keys["targets"][1:]
    room.rotate(room.keys["root"])
    refused(place, repository, room.make(targets=old_targets), "targets metadata has 0 of 1")
    repository.publish(room.make())
    state = repository.state()
    assert state is not None
    assert state.root_version == 3
    assert place.open(room.first_root).state() == state


def test_a_new_timestamp_key_begins_its_count_again(place: Place) -> None:
    """So does everybody recover after a stolen online key has signed a huge version."""
    room, repository = published(place)
    room.versions |= {"timestamp": 10**6, "snapshot": 10**6}
    repository.publish(room.make())
    room.keys |= {"timestamp": [key()], "snapshot": [key()]}
    room.rotate(room.keys["root"])
    room.versions |= {"timestamp": 5, "snapshot": 5}
    repository.publish(room.make())
    state = repository.state()
    assert state is not None
    assert state.timestamp_version == 6


@pytest.mark.parametrize("missing", ["1.root.json", "2.root.json"])
def test_a_gap_between_roots_is_refused(place: Place, missing: str) -> None:
    room, _ = published(place)
    repository = place.open(None)
    room.rotate(room.keys["root"])
    room.rotate(room.keys["root"])
    files = room.make()
    del files[missing]
    if missing == "1.root.json":
        place.open(room.first_root).publish(files)  # it is in the settings
        return
    repository = place.open(room.first_root)
    refused(place, repository, files, "2.root.json is missing")


def test_roots_older_than_the_trusted_one_must_lead_to_it(place: Place) -> None:
    room = Room()
    room.rotate(room.keys["root"])
    forged = Room()
    repository = place.open(room.roots["2.root.json"])
    files = room.make()
    refused(place, repository, files | {"1.root.json": forged.first_root}, "root metadata has 0")
    repository.publish(files)
    assert repository.metadata("1.root.json") == room.first_root


def test_a_root_under_a_false_number_is_refused(place: Place) -> None:
    room, repository = published(place)
    files = room.make()
    refused(place, repository, files | {"2.root.json": room.first_root}, "version")


def test_clients_need_consistent_snapshots(place: Place) -> None:
    room, repository = published(place)
    room.consistent = False
    room.rotate(room.keys["root"])
    refused(place, repository, room.make(), "consistent snapshots")
