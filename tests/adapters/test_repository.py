"""The gateway's repository: what is published is kept, given out and found again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.adapters import artifacts
from cloud.adapters.repository import Repository
from contract.errors import Malformed, Refused, Unreachable
from tests.adapters.release_room import (
    DAY_NS,
    IMAGE,
    NOW_NS,
    OTHER,
    Place,
    Room,
    artifact_path,
    incoming,
    published,
)


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(database_url, tmp_path / "artifacts")
    yield made
    made.engine.dispose()


def versions(repository: Repository) -> list[str]:
    return [kept.release.version for kept in repository.kept()]


def test_what_is_published_is_kept_and_given_out(place: Place) -> None:
    room = Room()
    name = room.add("1.9.0", IMAGE, hardware=[2, 3], cures=["firmware_bug"], min_version="1.2.0")
    room.add("1.10.0", OTHER)
    repository = place.open(room.first_root)
    assert repository.state() is None
    assert "nothing was published" in repository.fresh(NOW_NS)
    room.upload(repository)
    assert (repository.kept(), repository.artifact(name)) == ([], None), "no metadata, no artifact"
    metadata = room.make()
    assert repository.publish(metadata) == repository.kept()
    assert versions(repository) == ["1.10.0", "1.9.0"]
    kept = repository.kept()[1]
    assert kept.digests.sha256 == kept.release.sha256 == hashlib.sha256(IMAGE).hexdigest()
    weak = [hashlib.new(name, IMAGE).hexdigest() for name in ("sha1", "md5")]
    assert [kept.digests.sha1, kept.digests.md5] == weak
    assert (kept.release.hardware, kept.release.min_version) == ([2, 3], "1.2.0")
    path = repository.artifact(name)
    assert path is not None
    assert path.read_bytes() == IMAGE
    assert repository.path_of(kept.release) == path
    assert {name: repository.metadata(name) for name in metadata} == metadata
    assert repository.metadata("released/chiller/1.9.0.img") is None
    state = repository.state()
    assert state is not None
    assert (state.root_version, state.timestamp_version) == (1, 1)
    assert state.timestamp_expires_ns == NOW_NS + 14 * DAY_NS
    assert repository.fresh(NOW_NS) == repository.trouble() == ""


def test_a_restart_finds_it_all_again(place: Place) -> None:
    room, before = published(place)
    after = place.open(room.first_root)
    assert (after.kept(), after.state()) == (before.kept(), before.state())
    assert after.trouble() == ""
    assert after.publish(room.make()) == before.kept()


def test_publishing_the_same_again_changes_nothing(place: Place) -> None:
    room, repository = published(place)
    kept, state = repository.kept(), repository.state()
    room.upload(repository)
    again = {name: repository.metadata(name) or b"" for name in place.names() if "/" not in name}
    assert repository.publish(again) == kept
    assert repository.state() == state


def test_a_part_is_enough_where_the_rest_is_here(place: Place) -> None:
    room, repository = published(place)
    room.days["timestamp"] = 20
    part = room.make(same=["targets", "snapshot"])
    repository.publish({"timestamp.json": part["timestamp.json"]})
    state = repository.state()
    assert state is not None
    assert (state.timestamp_version, state.targets_version) == (2, 1)


def test_a_withdrawn_release_is_gone_and_its_file_later(place: Place) -> None:
    room, repository = published(place)
    old = repository.kept()[1].release
    path = repository.path_of(old)
    assert path is not None
    del room.targets["chiller/1.9.0.img"]
    repository.publish(room.make())
    assert versions(repository) == ["1.10.0"]
    assert repository.path_of(old) is None
    assert path.exists(), "it is given no more, and waits a day"
    place.now_ns += 2 * DAY_NS
    repository.publish(room.make())
    assert not path.exists()
    assert f"digests/{old.sha256}" not in place.names()


def test_the_metadata_before_is_given_out_too_for_clients_in_the_middle(place: Place) -> None:
    room, repository = published(place)
    before = repository.metadata("1.targets.json")
    repository.publish(room.make())
    assert repository.metadata("1.targets.json") == before
    assert repository.metadata("2.targets.json") not in (None, before)
    repository.publish(room.make())
    assert repository.metadata("1.targets.json") is None
    assert "1.targets.json" not in place.names()


@pytest.mark.parametrize(
    "path",
    ["", "x.img", "chiller/1.0.0.img", "../" + "0" * 64 + ".1.0.0.img", "a/b/c", "chiller/\n"],
)
def test_a_name_that_is_none_is_malformed(place: Place, path: str) -> None:
    repository = place.open(Room().first_root)
    with pytest.raises(Malformed, match="no name of an artifact"):
        repository.put_artifact(path, incoming(repository, IMAGE))


def test_only_the_file_that_the_name_says_is_taken(place: Place) -> None:
    repository = place.open(Room().first_root)
    with pytest.raises(Refused, match="SHA-256"):
        repository.put_artifact(artifact_path(IMAGE, "1.0.0"), incoming(repository, OTHER))
    large = b"x" * 65537
    with pytest.raises(Refused, match="65536"):
        repository.put_artifact(artifact_path(large, "1.0.0"), incoming(repository, large))
    with pytest.raises(Refused, match="empty"):
        repository.put_artifact(artifact_path(b"", "1.0.0"), incoming(repository, b""))
    assert [path.name for path in place.folder.iterdir()] == ["incoming"]


def test_too_much_is_refused_and_waiting_files_go_after_a_day(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "TOTAL_BYTES_MAX", 4000)
    repository = place.open(Room().first_root)

    def put(image: bytes) -> None:
        repository.put_artifact(artifact_path(image, "1.0.0"), incoming(repository, image))

    put(IMAGE)
    put(IMAGE)  # the same again takes no more room
    with pytest.raises(Refused, match="most"):
        put(OTHER)
    place.now_ns += 2 * DAY_NS
    put(OTHER)
    assert len(list(place.folder.iterdir())) == 2


def test_uploads_that_broke_off_are_dropped_at_the_start(place: Place) -> None:
    root = Room().first_root
    left = incoming(place.open(root), IMAGE)
    place.open(root)
    assert not left.exists()


def test_without_a_root_nothing_is_taken(place: Place) -> None:
    room = Room()
    name = room.add("1.0.0", IMAGE)
    repository = place.open(None)
    with pytest.raises(Refused, match="release_root"):
        repository.put_artifact(name, incoming(repository, IMAGE))
    with pytest.raises(Refused, match="release_root"):
        repository.publish(room.make())
    assert "release_root" in repository.fresh(NOW_NS)


@pytest.mark.parametrize("root", [b"", b"{}", b'{"signed":{},"signatures":[]}'])
def test_a_root_that_is_none_is_told_at_the_start(place: Place, root: bytes) -> None:
    with pytest.raises(Malformed, match="release_root"):
        place.open(root)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_what_expires_is_offered_no_more(place: Place, role: str) -> None:
    room = Room()
    room.days |= {"timestamp": 50, "snapshot": 50, "targets": 50, "root": 50}
    room.days[role] = 3
    if role == "root":
        room.rotate(room.keys["root"])
    room.add("1.0.0", IMAGE)
    repository = place.open(room.first_root)
    room.upload(repository)
    repository.publish(room.make())
    end_ns = NOW_NS + 3 * DAY_NS
    assert repository.fresh(end_ns - 1) == ""
    assert f"the {role} of the release repository has expired" in repository.fresh(end_ns)
    place.now_ns = end_ns + DAY_NS
    later = place.open(room.first_root)
    assert versions(later) == ["1.0.0"], "it is kept, and told to be too old"
    assert "expired" in later.fresh(place.now_ns)


# What is stored may be touched by others.


@pytest.mark.parametrize(
    "name", ["1.root.json", "2.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"]
)
def test_tampered_rows_are_not_believed_and_publishing_heals(place: Place, name: str) -> None:
    room = Room()
    room.rotate(room.keys["root"])
    room.add("1.9.0", IMAGE)
    before = place.open(room.first_root)
    room.upload(before)
    before.publish(room.make())
    good = before.metadata(name) or b""
    for bad in (good.replace(b'"expires":"2', b'"expires":"3'), good[:-1], b"", b"\xff", b"{}"):
        assert bad != good
        place.overwrite(name, bad)
        opened = place.open(room.first_root)
        assert (opened.kept(), opened.state()) == ([], None)
        assert "not believed" in opened.trouble()
        assert "not believed" in opened.fresh(NOW_NS)
    opened.publish(room.make())
    assert opened.kept() == before.kept()
    assert opened.trouble() == ""
    again = place.open(room.first_root)
    assert again.kept() == before.kept()


def test_after_a_tampered_row_older_metadata_is_still_refused(place: Place) -> None:
    room, repository = published(place)
    old = room.make()
    repository.publish(room.make())
    place.overwrite("3.targets.json", b"{}")
    opened = place.open(room.first_root)
    with pytest.raises(Refused, match="older"):
        opened.publish(old)


def test_an_artifact_that_is_gone_is_not_offered(place: Place) -> None:
    room, repository = published(place)
    newest = repository.kept()[0].release
    path = repository.path_of(newest)
    assert path is not None
    path.unlink()
    opened = place.open(room.first_root)
    assert versions(opened) == ["1.9.0"]
    assert "upload it" in opened.trouble()
    with pytest.raises(Refused, match="upload it"):
        opened.publish(room.make())
    room.upload(opened)
    opened.publish(room.make())
    assert versions(opened) == ["1.10.0", "1.9.0"]


def test_a_damaged_artifact_is_found_where_its_hashes_are_lost(place: Place) -> None:
    room, repository = published(place)
    newest = repository.kept()[0].release
    path = repository.path_of(newest)
    assert path is not None
    path.write_bytes(IMAGE[: newest.size_bytes])
    place.overwrite(f"digests/{newest.sha256}", b"[]")
    opened = place.open(room.first_root)
    assert versions(opened) == ["1.9.0"]
    assert "damaged" in opened.trouble()


def test_lost_hashes_are_computed_again(place: Place) -> None:
    room, before = published(place)
    for name in place.names():
        if name.startswith("digests/"):
            place.overwrite(name, b"nonsense")
    assert place.open(room.first_root).kept() == before.kept()


def test_another_first_root_begins_anew(place: Place) -> None:
    published(place)
    other = Room()
    other.add("2.0.0", IMAGE)
    opened = place.open(other.first_root)
    assert opened.kept() == []
    assert "release_root" in opened.trouble()
    other.upload(opened)
    opened.publish(other.make())
    assert versions(opened) == ["2.0.0"]
    assert versions(place.open(other.first_root)) == ["2.0.0"]


def test_a_newer_first_root_in_the_settings_is_the_same_repository(place: Place) -> None:
    room, before = published(place)
    room.rotate(room.keys["root"])
    before.publish(room.make())
    opened = place.open(room.roots["2.root.json"])
    assert opened.kept() == before.kept()
    assert opened.metadata("1.root.json") == room.first_root


def test_a_disk_that_may_not_be_written_is_told(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    place.folder = file
    with pytest.raises(Unreachable, match=r"file.*cannot be used"):
        place.open(Room().first_root)
    assert file.read_bytes() == b""
