"""Signed metadata whose parts do not belong together, or say what no release is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Delegations, Metadata, MetaFile, Snapshot, Targets, Timestamp

from cloud.adapters import signed_metadata
from contract.errors import FarfixError, Malformed, Refused
from tests.adapters.release_room import (
    IMAGE,
    OTHER,
    Place,
    Room,
    incoming,
    published,
    refused,
    signed,
)

Files = dict[str, bytes]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(f"sqlite:///{tmp_path / 'cases.db'}", tmp_path / "artifacts")
    yield made
    made.engine.dispose()


def test_mix_and_match_is_refused(place: Place) -> None:
    room, repository = published(place)
    second, third = room.make(), room.make()
    v = room.versions
    mixed = third | {f"{v['targets']}.targets.json": second[f"{v['targets'] - 1}.targets.json"]}
    refused(place, repository, mixed, "of different times")
    mixed = third | {f"{v['snapshot']}.snapshot.json": second[f"{v['snapshot'] - 1}.snapshot.json"]}
    refused(place, repository, mixed, "of different times")


@pytest.mark.parametrize("part", ["timestamp", "2.snapshot", "2.targets"])
def test_a_part_that_is_missing_is_named(place: Place, part: str) -> None:
    room, repository = published(place)
    files = room.make()
    del files[f"{part}.json"]
    if part == "timestamp":
        repository.publish(files)  # what is left is what was there before
        state = repository.state()
        assert state is not None
        assert state.timestamp_version == 1
    else:
        refused(place, repository, files, f"{part}.json is missing")


def test_hashes_in_the_signed_parts_count(place: Place) -> None:
    room, repository = published(place)
    files = room.make()
    timestamp: Metadata[Timestamp] = Metadata.from_bytes(files["timestamp.json"])
    timestamp.signed.snapshot_meta = MetaFile(2, 5, {"sha256": "0" * 64})
    files["timestamp.json"] = signed(timestamp.signed, room.keys["timestamp"])
    refused(place, repository, files, "length or hash differ")


def test_a_snapshot_speaks_of_targets_only(place: Place) -> None:
    room = Room()
    repository, files = place.open(room.first_root), room.make()
    snapshot: Metadata[Snapshot] = Metadata.from_bytes(files["1.snapshot.json"])
    for meta in ({}, {"targets.json": MetaFile(1), "other.json": MetaFile(1)}):
        snapshot.signed.meta = meta
        files["1.snapshot.json"] = signed(snapshot.signed, room.keys["snapshot"])
        refused(place, repository, files, "and of nothing else")


def _delegate(targets: Targets) -> None:
    targets.delegations = Delegations({}, {})


def _other_path(targets: Targets) -> None:
    targets.targets["chiller/9.9.9.img"] = targets.targets.pop("chiller/1.9.0.img")


def _claim(**changed: Any) -> Callable[[Targets], None]:
    def change(targets: Targets) -> None:
        custom = targets.targets["chiller/1.9.0.img"].custom
        targets.targets["chiller/1.9.0.img"].unrecognized_fields["custom"] = custom | changed

    return change


def _no_claims(targets: Targets) -> None:
    del targets.targets["chiller/1.9.0.img"].unrecognized_fields["custom"]


def _other_hash(targets: Targets) -> None:
    targets.targets["chiller/1.9.0.img"].hashes["sha512"] = "0" * 128


def _length(size_bytes: int) -> Callable[[Targets], None]:
    def change(targets: Targets) -> None:
        targets.targets["chiller/1.9.0.img"].length = size_bytes

    return change


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_delegate, "delegated"),
        (_other_path, "a target lies under its name"),
        (_no_claims, "is no release"),
        (_claim(colour="red"), "unknown field"),
        (_claim(version="1.9"), "is no release"),
        (_claim(hardware=["2"]), "is no release"),
        (_claim(machine_type="../etc"), "is no name of a machine type"),
        (_other_hash, "no other hash"),
        (_length(0), "is no release"),
        (_length(2999), "upload it"),
        (_length(65537), "65536"),
        (_length(10**12), "is no release"),
    ],
)
def test_signed_nonsense_is_refused_too(
    place: Place, spoil: Callable[[Targets], None], why: str
) -> None:
    room, repository = published(place)
    files = room.make()
    targets: Metadata[Targets] = Metadata.from_bytes(files["2.targets.json"])
    spoil(targets.signed)
    files["2.targets.json"] = signed(targets.signed, room.keys["targets"])
    refused(place, repository, files, why)


def test_names_of_machine_types_lead_nowhere(place: Place) -> None:
    room, repository = published(place)
    room.add("1.0.0", IMAGE, machine_type="../../etc")
    refused(place, repository, room.make(), "no name of a machine type")


def test_one_version_is_one_release(place: Place) -> None:
    room, repository = published(place)
    room.add("1.9.0", IMAGE, format="swu")
    refused(place, repository, room.make(), "two releases of this version")
    del room.targets["chiller/1.9.0.swu"]
    room.add("01.9.0", IMAGE)
    refused(place, repository, room.make(), "two releases of this version")


def test_a_version_never_changes_its_bytes_even_when_it_was_withdrawn(place: Place) -> None:
    room, repository = published(place)
    room.add("1.9.0", OTHER)
    refused(place, repository, room.make(), "never changes")
    del room.targets["chiller/1.9.0.img"]
    repository.publish(room.make())
    opened = place.open(room.first_root)
    room.add("1.9.0", OTHER)
    refused(place, opened, room.make(), "never changes")
    room.add("1.9.0", IMAGE, notes="words may change")
    opened.publish(room.make())
    assert opened.kept()[1].release.notes == "words may change"


def test_metadata_without_its_artifact_is_refused(place: Place) -> None:
    room, repository = published(place)
    name = room.add("2.0.0", b"two")
    files = room.make()
    refused(place, repository, files, f"{name} is not here")
    repository.put_artifact(name, incoming(repository, b"two"))
    repository.publish(files)


# Too much, and nonsense.


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"timestamp.json": b" " * 16385}, "clients read at most 16384"),
        ({"1.root.json": b" " * 100001}, "clients read at most 100000"),
        ({f"{n}.root.json": b"" for n in range(1, 602)}, "at most 600"),
        ({"root.json": b"{}"}, "no metadata file"),
        ({"0.root.json": b"{}"}, "no metadata file"),
        ({"1.root.json\n": b"{}"}, "no metadata file"),
        ({"1.other.json": b"{}"}, "no metadata file"),
        ({"digests/" + "0" * 64: b"{}"}, "no metadata file"),
        ({"9999999999.root.json": b"{}"}, "no metadata file"),
    ],
)
def test_what_no_client_would_read_is_malformed(place: Place, files: Files, why: str) -> None:
    _, repository = published(place)
    with pytest.raises(Malformed, match=why):
        repository.publish(files)


def test_more_roots_than_clients_follow_are_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_metadata, "ROOTS_MAX", 3)
    room, repository = published(place)
    for _ in range(3):
        room.rotate(room.keys["root"])
    refused(place, repository, room.make(), "at most")


ROOM = Room()
ROOM.rotate(ROOM.keys["root"])
ROOM.add("1.0.0", IMAGE)
FILES = ROOM.make()
NAMES = st.sampled_from(sorted(FILES))


@given(name=NAMES, at=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
@settings(max_examples=300)
def test_a_flipped_byte_is_refused_or_means_the_same(name: str, at: float, bits: int) -> None:
    data = bytearray(FILES[name])
    data[int(at * len(data))] ^= bits
    good = signed_metadata.verify(FILES, ROOM.first_root, {}, signed_metadata.WHENEVER)
    try:
        signed_metadata.check_names(FILES)
        spoilt = FILES | {name: bytes(data)}
        found = signed_metadata.verify(spoilt, ROOM.first_root, {}, signed_metadata.WHENEVER)
    except FarfixError:
        return
    # One of three root signatures may be spoilt, and white space is not signed.
    assert (found.state, found.releases) == (good.state, good.releases)


@given(files=st.dictionaries(NAMES, st.binary(max_size=50) | st.sampled_from(list(FILES.values()))))
@settings(max_examples=300)
def test_nonsense_is_refused_and_nothing_else(files: Files) -> None:
    try:
        found = signed_metadata.verify(files, ROOM.first_root, {}, signed_metadata.WHENEVER)
    except Refused:
        return
    assert {name: FILES[name] for name in found.files} == found.files
