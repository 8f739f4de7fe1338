"""The release room: who may sign what, what waits, and what is never overwritten."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contract import firmware
from contract.errors import Malformed, Refused
from contract.firmware import Claims, Format
from farfix import keys, publishing, release_kit, releases, repository, rotation
from farfix.release_kit import Kit
from tests.cli import release_rig as rig

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
CLAIMS = Claims(machine_type="chiller", version="1.1.0")


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return rig.kit(tmp_path / "kit")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.bin"
    file.write_bytes(rig.IMAGE)
    return file


def image_key(kit: Kit) -> Ed25519PrivateKey:
    return keys.read_private(kit.folder / "keys" / "image.pem")


@needs_openssl
def test_private_keys_are_private_standard_files(kit: Kit) -> None:
    files = sorted((kit.folder / "keys").iterdir())
    assert len(files) == 3 + 3 + 1 + 1 + 1
    assert (kit.folder / "keys").stat().st_mode & 0o777 == 0o700
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        asked = ["openssl", "pkey", "-in", str(file), "-noout", "-text"]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert "ED25519" in said.upper()
    private = {file.read_text().splitlines()[1] for file in files}
    for file in kit.room.folder.rglob("*"):
        assert not file.is_file() or not any(key in file.read_text() for key in private)


@needs_openssl
def test_keys_made_by_others_can_be_used(tmp_path: Path, kit: Kit) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    for asked in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *asked], check=True, capture_output=True)
    assert keys.read_public(public) == keys.read_public(private)
    rotation.rotate(
        kit.room, "targets", rig.signers(kit, "root"), days=1, add=[keys.read_public(public)]
    )
    releases.renew(kit.room, 1)
    (standing,) = repository.sign(kit.room, [keys.read(private)])
    assert standing.missing == 1


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_file_without_a_key_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    for read in (keys.read, keys.read_private, keys.read_public):
        with pytest.raises(Malformed, match="ed25519 key"):
            read(tmp_path / "k")
    with pytest.raises(Malformed, match="64 hexadecimal"):
        keys.read_image_public(tmp_path / "k")


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    file = tmp_path / "k.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Malformed, match="ed25519"):
        keys.read(file)


def test_nothing_that_exists_is_overwritten(kit: Kit) -> None:
    before = {f: f.read_bytes() for f in kit.folder.rglob("*") if f.is_file()}
    with pytest.raises(Refused, match="left alone"):
        release_kit.make(kit.folder)
    with pytest.raises(Refused, match="left alone"):
        keys.make(kit.folder / "keys" / "root-1.pem")
    assert {f: f.read_bytes() for f in kit.folder.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("numbers", [(2, 3, 1, 1), (3, 0, 1, 1), (3, 2, 1, 2), (0, 0, 1, 1)])
def test_a_threshold_nobody_can_meet_is_refused(
    tmp_path: Path, numbers: tuple[int, int, int, int]
) -> None:
    with pytest.raises(Malformed, match="makes no sense"):
        release_kit.make(tmp_path / "kit", *numbers)
    assert not (tmp_path / "kit").exists()


def test_releases_wait_until_enough_have_signed(kit: Kit, image: Path) -> None:
    one, two, three = rig.signers(kit, "targets")
    releases.add(kit.room, image, replace(CLAIMS, version="1.2.0"), image_key(kit))
    (standing,) = repository.sign(kit.room, [one])
    assert (standing.role, standing.version, standing.missing) == ("targets", 3, 1)
    assert standing.waiting_for == sorted([two.public_key.keyid, three.public_key.keyid])
    made = release_kit.publish(kit)
    assert {r.version for r in made.view.releases} == {"1.1.0"}
    assert made.renewed_only
    (standing,) = repository.sign(kit.room, [three])
    assert standing.missing == 0
    assert not repository.anything_staged(kit.room)
    made = release_kit.publish(kit)
    assert {r.version for r in made.view.releases} == {"1.1.0", "1.2.0"}
    assert not made.renewed_only


def test_who_changes_what_is_staged_needs_all_signatures_anew(kit: Kit, image: Path) -> None:
    one, two, _ = rig.signers(kit, "targets")
    releases.add(kit.room, image, replace(CLAIMS, version="1.2.0"), image_key(kit))
    repository.sign(kit.room, [one])
    releases.add(kit.room, image, replace(CLAIMS, version="1.3.0"), image_key(kit))
    (standing,) = repository.sign(kit.room, [two])
    assert (standing.version, standing.missing) == (3, 1)
    staged = repository.staged_targets(kit.room)
    assert staged is not None
    assert list(staged.signatures) == [two.public_key.keyid]


def test_a_room_survives_a_version_control_that_keeps_no_empty_folders(kit: Kit) -> None:
    kit.room.staged.rmdir()
    rig.add(kit, "1.2.0")
    assert len(release_kit.publish(kit).view.releases) == 2


def test_a_version_never_changes(kit: Kit, image: Path) -> None:
    image.write_bytes(b"other")
    with pytest.raises(Refused, match="a version never changes"):
        releases.add(kit.room, image, CLAIMS, image_key(kit))
    staged = replace(CLAIMS, version="1.2.0")
    releases.add(kit.room, image, staged, image_key(kit))
    with pytest.raises(Refused, match="a version never changes"):
        releases.add(kit.room, image, staged, image_key(kit))


def test_a_withdrawn_release_is_gone_and_its_version_used(kit: Kit, image: Path) -> None:
    rig.add(kit, "1.2.0")
    releases.withdraw(kit.room, "chiller", "1.1.0")
    repository.sign(kit.room, rig.signers(kit, "targets"))
    assert [r.version for r in release_kit.publish(kit).view.releases] == ["1.2.0"]
    with pytest.raises(Refused, match="a version never changes"):
        releases.add(kit.room, image, CLAIMS, image_key(kit))
    with pytest.raises(Refused, match=r"no release chiller 1\.1\.0; there are: chiller/1\.2\.0"):
        releases.withdraw(kit.room, "chiller", "1.1.0")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"machine_type": "teapot"}, "no machine type"),
        ({"machine_type": "water_pump_rig"}, "cannot be updated"),
        ({"version": "one"}, "matching regex"),
        ({"version": "01.2.0"}, "more zeros"),
        ({"version": "1.2.0", "min_version": "1.2.1"}, "ask for 1.2.1 before"),
        ({"version": "1.2.0", "hardware": [0]}, "hardware"),
        ({"version": "1.2.0", "cures": ["thirst"]}, "no fault 'thirst'"),
        ({"version": "1.2.0", "notes": "x" * 2001}, "notes"),
    ],
)
def test_a_claim_that_cannot_be_is_explained(
    kit: Kit, image: Path, changed: dict[str, object], message: str
) -> None:
    claims = replace(CLAIMS, **changed)
    with pytest.raises((Malformed, Refused), match=message):
        releases.add(kit.room, image, claims, image_key(kit))
    assert not repository.anything_staged(kit.room)


@pytest.mark.parametrize("size_bytes", [0, firmware.MAX_IMAGE_BYTES + 1])
def test_an_image_of_a_size_that_cannot_be_is_explained(
    kit: Kit, image: Path, size_bytes: int
) -> None:
    image.write_bytes(bytes(size_bytes))
    with pytest.raises(Malformed, match=f"has {size_bytes} bytes"):
        releases.add(kit.room, image, replace(CLAIMS, version="1.2.0"), image_key(kit))
    with pytest.raises(Malformed, match="cannot read"):
        releases.add(kit.room, image.with_name("none"), CLAIMS, image_key(kit))


def test_a_bare_image_needs_the_key_that_bootloaders_trust(kit: Kit, image: Path) -> None:
    claims = replace(CLAIMS, version="1.2.0")
    with pytest.raises(Refused, match="--image-key"):
        releases.add(kit.room, image, claims, None)
    with pytest.raises(Refused, match="not the image key"):
        releases.add(kit.room, image, claims, Ed25519PrivateKey.generate())


def test_a_bundle_may_be_large_and_needs_no_image_key(kit: Kit, image: Path) -> None:
    image.write_bytes(bytes(firmware.MAX_IMAGE_BYTES * 3))
    claims = Claims(machine_type="edge_computer", version="1.0.0", hardware=[3])
    made = releases.add(kit.room, image, claims, None)
    assert made.format is Format.SWU
    repository.sign(kit.room, rig.signers(kit, "targets"))
    assert made in release_kit.publish(kit).view.releases


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.sampled_from(["add", "renew", "publish", "root"]), max_size=6))
def test_versions_only_go_up(steps: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    kit = rig.kit(tmp_path_factory.mktemp("room") / "kit")
    before = {role.name: role.version for role in release_kit.publish(kit).view.roles}
    for count, step in enumerate(steps):
        if step == "add":
            rig.add(kit, f"2.0.{count}")
        elif step == "renew":
            releases.renew(kit.room, 1)
            repository.sign(kit.room, rig.signers(kit, "targets"))
        elif step == "root":
            rotation.rotate(kit.room, "root", rig.signers(kit, "root"), days=2)
        made = release_kit.publish(kit)
        after = {role.name: role.version for role in made.view.roles}
        grown = {role for role in after if after[role] == before[role] + 1}
        changed = {"add": {"targets"}, "renew": {"targets"}, "root": {"root"}, "publish": set()}
        assert grown == changed[step] | {"snapshot", "timestamp"}
        assert made.renewed_only == ("targets" not in grown)
        before = after


def test_a_root_needs_the_old_and_the_new_keys(kit: Kit, tmp_path: Path) -> None:
    one, two, three = rig.signers(kit, "root")
    new = keys.make(tmp_path / "root-4.pem")
    gone = [signer.public_key.keyid for signer in (two, three)]
    (standing,) = rotation.rotate(
        kit.room, "root", [one, new], days=1, add=[new.public_key], remove=gone
    )
    assert standing.missing == 1  # one and new are enough for the new root, not for the old one
    assert standing.waiting_for == sorted(gone)
    assert repository.root(kit.room).signed.version == 1
    (standing,) = repository.sign(kit.room, [three])
    assert standing.missing == 0
    assert release_kit.publish(kit).view.roles[0].version == 2


@pytest.mark.parametrize(
    ("role", "options", "message"),
    [
        ("captain", {}, "no role 'captain'"),
        ("root", {"threshold": 4}, "would need 4 signatures and have 3 keys"),
        ("snapshot", {"remove": ["all"]}, "names none of the keys"),
        ("targets", {"remove": ["0" * 64]}, "names none of the keys"),
    ],
)
def test_a_rotation_that_makes_no_sense_is_refused(
    kit: Kit, role: str, options: dict[str, object], message: str
) -> None:
    signers = rig.signers(kit, "root")
    with pytest.raises(Refused, match=message):
        rotation.rotate(kit.room, role, signers, days=1, **options)  # type: ignore[arg-type]
    assert not repository.anything_staged(kit.room)


def test_the_last_key_of_a_role_stays(kit: Kit) -> None:
    (only,) = rig.signers(kit, "snapshot")
    keyid = only.public_key.keyid
    with pytest.raises(Refused, match="would need 1 signatures and have 0 keys"):
        rotation.rotate(kit.room, "snapshot", rig.signers(kit, "root"), days=1, remove=[keyid])
    with pytest.raises(Refused, match="already"):
        rotation.rotate(
            kit.room, "snapshot", rig.signers(kit, "root"), days=1, add=[only.public_key]
        )


def test_a_gateway_is_handed_all_roots_and_what_is_current(kit: Kit) -> None:
    rotation.rotate(kit.room, "root", rig.signers(kit, "root"), days=1)
    release_kit.publish(kit)
    assert sorted(publishing.metadata_texts(kit.room)) == [
        "1.root.json",
        "2.root.json",
        "2.snapshot.json",
        "2.targets.json",
        "timestamp.json",
    ]
    (path,) = publishing.image_paths(kit.room)
    assert (kit.room.targets / path).read_bytes() == rig.IMAGE


def test_a_folder_that_is_no_room_is_told(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="no release room"):
        repository.open_room(tmp_path)


def test_a_damaged_room_is_told(kit: Kit) -> None:
    rig.newest(kit, "targets").write_text("{")
    with pytest.raises(Malformed, match=r"2\.targets\.json: the metadata cannot be read"):
        release_kit.publish(kit)
