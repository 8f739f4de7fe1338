"""What attackers try on a repository, and that a device believes none of it."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp

from contract.errors import Refused, Unreachable
from farfix import device_view, keys, publishing, release_kit, repository, rotation
from farfix.device_view import View
from farfix.release_kit import Kit
from tests.cli import release_rig as rig

See = Callable[[], View]
MEGABYTE = 1024 * 1024


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return rig.kit(tmp_path / "kit")


@pytest.fixture
def see(kit: Kit, tmp_path: Path) -> See:
    """A device that remembers what it has seen."""
    root = kit.room.first_root.read_bytes()

    def look() -> View:
        return device_view.view_room(kit.room, root, state=tmp_path / "device")

    assert [release.version for release in look().releases] == ["1.1.0"]
    return look


def believed(view: View) -> set[str]:
    assert view.images_checked
    return {release.version for release in view.releases}


def test_an_old_state_is_refused_by_who_saw_the_new_one(kit: Kit, see: See) -> None:
    old = (kit.room.metadata / "timestamp.json").read_bytes()
    rig.add(kit, "1.2.0")
    release_kit.publish(kit)
    assert believed(see()) == {"1.1.0", "1.2.0"}
    (kit.room.metadata / "timestamp.json").write_bytes(old)
    with pytest.raises(Refused, match="older than what was seen before"):
        see()


def test_stolen_online_keys_bring_no_old_release_back(kit: Kit, see: See) -> None:
    rig.add(kit, "1.2.0")
    release_kit.publish(kit)
    see()

    def back(snapshot: Snapshot) -> None:
        snapshot.version += 1
        snapshot.meta["targets.json"].version -= 1

    def point(timestamp: Timestamp) -> None:
        timestamp.version += 1
        timestamp.snapshot_meta.version += 1

    file = rig.newest(kit, "snapshot")
    forged = file.with_name("3.snapshot.json")
    shutil.copy(file, forged)
    rig.change(forged, Snapshot, back, rig.signers(kit, "snapshot"))
    rig.change(rig.newest(kit, "timestamp"), Timestamp, point, rig.signers(kit, "timestamp"))
    with pytest.raises(Refused, match="older than what was seen before"):
        see()


ROLES: list[tuple[str, type[Root] | type[Targets] | type[Snapshot] | type[Timestamp]]] = [
    ("root", Root),
    ("targets", Targets),
    ("snapshot", Snapshot),
    ("timestamp", Timestamp),
]


@pytest.mark.parametrize(("role", "kind"), ROLES[1:])
def test_a_frozen_state_is_refused_when_it_has_expired(
    kit: Kit, see: See, role: str, kind: type[Timestamp]
) -> None:
    rig.change(rig.newest(kit, role), kind, rig.expire, rig.signers(kit, role))
    with pytest.raises(Refused, match=f"the {role} metadata has expired"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def test_a_root_that_expired_is_refused_until_it_is_renewed(kit: Kit, see: See) -> None:
    rotation.rotate(kit.room, "root", rig.signers(kit, "root"), days=-1)
    with pytest.raises(Refused, match="the root metadata has expired"):
        see()
    rotation.rotate(kit.room, "root", rig.signers(kit, "root"), days=1)
    assert believed(see()) == {"1.1.0"}


def test_nothing_is_published_that_has_expired_already(kit: Kit, see: See) -> None:
    before = sorted(kit.room.metadata.iterdir())
    timestamp = rig.newest(kit, "timestamp").read_bytes()
    with pytest.raises(Refused, match="expired"):
        release_kit.publish(kit, days=-1)
    assert sorted(kit.room.metadata.iterdir()) == before
    assert rig.newest(kit, "timestamp").read_bytes() == timestamp


@pytest.mark.parametrize(("role", "kind"), ROLES)
def test_a_stranger_signs_nothing(kit: Kit, see: See, role: str, kind: type[Timestamp]) -> None:
    stranger = CryptoSigner.generate_ed25519()
    file = rig.newest(kit, role)
    if role == "root":
        file = Path(shutil.copy(file, file.with_name("2.root.json")))
        rig.change(file, Root, lambda r: setattr(r, "version", 2), [stranger])
    else:
        rig.change(file, kind, lambda _: None, [stranger])
    with pytest.raises(Refused, match=f"the {role} metadata has 0 of \\d signatures"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_tampered_metadata_is_refused(kit: Kit, role: str) -> None:
    file = rig.newest(kit, role)
    text = file.read_text()
    changed = text.replace('"expires":"20', '"expires":"21')
    assert changed != text
    file.write_text(changed)
    with pytest.raises(Refused, match=f"the {role} metadata has 0 of"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[" * 10_000, b"\xff\x00", b'{"signed": 1}'])
def test_garbage_is_no_metadata(kit: Kit, garbage: bytes) -> None:
    rig.newest(kit, "timestamp").write_bytes(garbage)
    with pytest.raises(Refused, match="cannot be read"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def image(kit: Kit) -> Path:
    (file,) = (kit.room.targets / "chiller").glob("*.1.1.0.img")
    return file


def test_a_tampered_image_is_refused(kit: Kit, see: See) -> None:
    image(kit).write_bytes(b"x" + rig.IMAGE[1:])
    with pytest.raises(Refused, match=r"chiller/1\.1\.0\.img: .*not the one that was signed"):
        see()


def test_a_missing_image_is_told(kit: Kit, see: See) -> None:
    image(kit).unlink()
    with pytest.raises(Unreachable, match=r"1\.1\.0\.img.*answered 404"):
        see()


def test_more_than_was_signed_is_not_even_read(kit: Kit, see: See) -> None:
    with image(kit).open("ab") as file:
        file.truncate(50 * MEGABYTE)
    with pytest.raises(Refused, match="more is sent than was signed"):
        see()


class Endless(rig.Handler):
    """Sends one file without end."""

    endless = ""
    server: rig.Server

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        if not self.path.endswith(self.endless):
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.server.sent += self.wfile.write(b" " * 4096)
        except OSError:
            pass  # who asked has hung up


@pytest.mark.parametrize("endless", ["timestamp.json", "2.root.json", ".1.1.0.img"])
def test_data_without_end_ends(kit: Kit, endless: str) -> None:
    handler = type("One", (Endless,), {"endless": endless})
    root = kit.room.first_root.read_bytes()
    serve = functools.partial(handler, directory=str(kit.room.folder))
    with (
        rig.serving(serve) as server,
        pytest.raises(Refused, match="more is sent than was signed"),
    ):
        device_view.view_url(server.url, root)
    assert server.sent < 10 * MEGABYTE


def test_parts_of_different_times_are_refused(kit: Kit) -> None:
    rig.add(kit, "1.2.0")
    release_kit.publish(kit)
    for role in ("snapshot", "targets"):
        made = rig.newest(kit, role)
        kept = made.read_bytes()
        older = made.with_name(f"{int(made.name.partition('.')[0]) - 1}.{role}.json")
        made.write_bytes(older.read_bytes())
        with pytest.raises(Refused, match="parts are of different times"):
            device_view.view_room(kit.room, kit.room.first_root.read_bytes())
        made.write_bytes(kept)
    device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def evil(kit: Kit, held: list[CryptoSigner]) -> None:
    """Put an image of the attacker's in, with the targets keys that were stolen."""
    data = b"evil"
    claims = {"machine_type": "chiller", "version": "6.6.6"}
    target = TargetFile.from_data("chiller/6.6.6.img", data, ["sha256"])
    target.unrecognized_fields["custom"] = claims
    (kit.room.targets / target.get_prefixed_paths()[0]).write_bytes(data)
    rig.change(
        rig.newest(kit, "targets"), Targets, lambda t: t.targets.update({target.path: target}), held
    )


@pytest.mark.parametrize("stolen", [0, 1])
def test_fewer_targets_keys_than_the_threshold_make_no_release(kit: Kit, stolen: int) -> None:
    evil(kit, rig.signers(kit, "targets")[:stolen])
    with pytest.raises(Refused, match=f"the targets metadata has {stolen} of 2"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def test_even_all_targets_keys_do_not_make_a_bootloader_run_it(kit: Kit) -> None:
    evil(kit, rig.signers(kit, "targets")[:2])
    with pytest.raises(Refused, match="not signed by the key that this device trusts"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())
    with rig.served(kit) as url:  # who does not know the image key sees a valid repository
        view = device_view.view_url(url, kit.room.first_root.read_bytes())
    assert not view.images_checked
    assert "6.6.6" in {release.version for release in view.releases}


@pytest.mark.parametrize("stolen", [1, 2])
def test_one_of_two_root_keys_changes_no_keys(kit: Kit, stolen: int) -> None:
    """With two the threshold is met: then it is no attack any more, and believed."""
    attacker = CryptoSigner.generate_ed25519()
    held = rig.signers(kit, "root")[:stolen]

    def take_over(root: Root) -> None:
        root.version = 2
        root.add_key(attacker.public_key, "timestamp")

    file = kit.room.metadata / "2.root.json"
    shutil.copy(kit.room.first_root, file)
    rig.change(file, Root, take_over, [*held, attacker])
    root = kit.room.first_root.read_bytes()
    if stolen < 2:
        with pytest.raises(Refused, match="the root metadata has 1 of 2"):
            device_view.view_room(kit.room, root)
    else:
        assert device_view.view_room(kit.room, root).roles[0].version == 2


def test_one_key_that_signs_twice_counts_once(kit: Kit) -> None:
    (one, *_) = rig.signers(kit, "targets")
    evil(kit, [one, CryptoSigner(keys.read_private(kit.key_files("targets")[0]))])
    with pytest.raises(Refused, match="the targets metadata has 1 of 2"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def test_a_target_under_anothers_name_is_refused(kit: Kit) -> None:
    def swap(targets: Targets) -> None:
        target = targets.targets.pop("chiller/1.1.0.img")
        targets.targets["chiller/1.1.1.img"] = TargetFile(
            target.length, target.hashes, "chiller/1.1.1.img", target.unrecognized_fields
        )

    rig.change(rig.newest(kit, "targets"), Targets, swap, rig.signers(kit, "targets"))
    with pytest.raises(Refused, match="says that it is"):
        device_view.view_room(kit.room, kit.room.first_root.read_bytes())


def test_keys_are_replaced_with_overlap(kit: Kit, see: See, tmp_path: Path) -> None:
    old, new = rig.signers(kit, "targets"), keys.make(tmp_path / "targets-4.pem")
    root = rig.signers(kit, "root")[:2]
    rotation.rotate(kit.room, "targets", root, days=365, add=[new.public_key])
    for pair, version in (([old[0], old[1]], "1.2.0"), ([old[0], new], "1.3.0")):
        rig.add(kit, version)  # signed by all old ones; then signed anew by the pair alone
        file = rig.newest(kit, "targets")
        rig.change(file, Targets, lambda _: None, pair)
        release_kit.publish(kit)
        assert version in believed(see())
    gone = old[0].public_key.keyid
    standings = rotation.rotate(kit.room, "targets", root, days=365, remove=[gone[:12]])
    assert [(s.role, s.missing) for s in standings] == [("root", 0), ("targets", 2)]
    with pytest.raises(Refused, match="the targets metadata has 1 of 2"):
        release_kit.publish(kit)
    with pytest.raises(Refused, match="signs neither the root nor the targets"):
        repository.sign(kit.room, [old[0]])
    (standing,) = repository.sign(kit.room, [new])
    assert standing.missing == 1
    (standing,) = repository.sign(kit.room, [old[1]])
    assert standing.missing == 0
    release_kit.publish(kit)
    view = see()
    assert believed(view) == {"1.1.0", "1.2.0", "1.3.0"}
    assert view.roles[0].version == 3


def test_stolen_online_keys_are_replaced_and_their_state_is_left_behind(
    kit: Kit, see: See, tmp_path: Path
) -> None:
    stolen = rig.signers(kit, "timestamp")
    rig.change(
        rig.newest(kit, "timestamp"), Timestamp, lambda t: setattr(t, "version", 10**6), stolen
    )
    see()  # fast-forwarded: no honest timestamp would be new enough any more
    honest = keys.make(tmp_path / "timestamp-2.pem")
    root = rig.signers(kit, "root")
    rotation.rotate(kit.room, "timestamp", root, days=365, add=[honest.public_key])
    keyid = stolen[0].public_key.keyid
    rotation.rotate(kit.room, "timestamp", root, days=365, remove=[keyid])
    (kit.room.metadata / "timestamp.json").unlink()
    made = publishing.publish(kit.room, rig.signers(kit, "snapshot")[0], honest, 14)
    assert {role.name: role.version for role in made.view.roles}["timestamp"] == 1
    assert believed(see()) == {"1.1.0"}
