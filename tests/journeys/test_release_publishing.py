"""A release from the signing tools through the real gateway program to a device's eyes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.adapters.broker import User
from cloud.adapters.broker import start as start_broker
from contract.errors import Refused
from contract.firmware import Claims
from farfix import device_view, keys, release_kit, rotation, toml
from farfix.api import Gateway
from farfix.children import Children, free_port
from farfix.release_kit import Kit

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]
TOKEN = "a token of this test"
MEGABYTE = 1024 * 1024


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    made = release_kit.make(tmp_path / "kit")
    release_kit.release(made, Claims(machine_type="chiller", version="1.1.0"), b"image")
    release_kit.publish(made)
    return made


@pytest.fixture
def url(tmp_path: Path, kit: Kit) -> Iterator[str]:
    """A gateway that trusts the kit's first root."""
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    with (
        start_broker(tmp_path / "broker", [User("gateway")]) as broker,
        Children(tmp_path / "logs") as children,
    ):
        config: toml.Table = {
            "data_dir": tmp_path / "cloud",
            "http_port": port,
            "api_token_file": tmp_path / "token",
            "release_root": kit.room.first_root,
            "broker": {
                "url": broker.url,
                "username": "gateway",
                "password_file": broker.password_file("gateway"),
            },
        }
        (tmp_path / "cloud.toml").write_text(toml.dumps(config))
        children.start("cloud", "cloud", "--config", str(tmp_path / "cloud.toml"))
        base_url = f"http://127.0.0.1:{port}"
        gateway = Gateway(base_url)
        children.await_ready("the gateway", gateway.healthy, 180)
        gateway.close()
        yield base_url
        children.check()


def test_what_is_published_is_what_devices_get(url: str, kit: Kit, tmp_path: Path) -> None:
    gateway, root = Gateway(url, TOKEN), kit.room.first_root.read_bytes()
    key = keys.read_image_public(kit.room.image_key)

    def see() -> set[str]:
        view = device_view.view_url(f"{url}/repository", root, key, tmp_path / "device")
        return {f"{release.machine_type} {release.version}" for release in view.releases}

    assert gateway.publish(kit.room) == 1
    assert see() == {"chiller 1.1.0"}
    bundle = Claims(machine_type="edge_computer", version="2.0.0", hardware=[3])
    release_kit.release(kit, bundle, bytes(20 * MEGABYTE))
    release_kit.publish(kit)
    assert see() == {"chiller 1.1.0"}, "what was not handed in is nowhere"
    assert gateway.publish(kit.room) == 1, "the gateway has the other image"
    assert see() == {"chiller 1.1.0", "edge_computer 2.0.0"}
    before = (kit.room.metadata / "timestamp.json").read_bytes()
    new = keys.make(tmp_path / "targets-2.pem")
    root_keys = [keys.read(file) for file in kit.key_files("root")]
    rotation.rotate(kit.room, "targets", root_keys, days=30, add=[new.public_key])
    release_kit.publish(kit)
    assert gateway.publish(kit.room) == 0
    assert see() == {"chiller 1.1.0", "edge_computer 2.0.0"}
    (kit.room.metadata / "timestamp.json").write_bytes(before)
    with pytest.raises(Refused, match="older than what was seen before"):
        gateway.publish(kit.room)
    gateway.close()


def test_a_gateway_takes_nothing_from_strangers(url: str, kit: Kit, tmp_path: Path) -> None:
    nobody = Gateway(url, "guessed")
    with pytest.raises(Refused, match="answered 401"):
        nobody.publish(kit.room)
    nobody.close()
    stranger = release_kit.make(tmp_path / "stranger")
    release_kit.publish(stranger)
    gateway = Gateway(url, TOKEN)
    with pytest.raises(Refused, match="not the root that this gateway trusts"):
        gateway.publish(stranger.room)
    gateway.close()
