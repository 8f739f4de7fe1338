"""``farfix release``, from the first key to a gateway, as people do it."""

import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from contract.errors import Malformed, Refused, Unreachable
from farfix import release_kit
from farfix.api import Gateway
from farfix.release_kit import Kit
from tests.cli import release_rig as rig

Farfix = Callable[..., subprocess.CompletedProcess[str]]
CHILLER = ("--machine-type", "chiller", "--version")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.bin"
    file.write_bytes(rig.IMAGE)
    return file


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return rig.kit(tmp_path / "kit")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a command that went well, without the lines' ends."""
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def keys_of(kit: Path, *names: str) -> list[str]:
    return [part for name in names for part in ("--key", str(kit / "keys" / f"{name}.pem"))]


def online(kit: Path) -> list[str]:
    return [
        part
        for role in ("snapshot", "timestamp")
        for part in (f"--{role}-key", str(kit / "keys" / f"{role}.pem"))
    ]


def test_from_the_first_key_to_a_device(farfix: Farfix, tmp_path: Path, image: Path) -> None:
    kit = tmp_path / "kit"
    room, signed_by = str(kit / "room"), ("--image-key", str(kit / "keys" / "image.pem"))
    made = said(
        farfix("release", "keygen", str(kit), "--targets-keys", "2", "--targets-threshold", "2")
    )
    assert (kit / "room" / "image.pub").read_text().strip() in made
    assert "never on the gateway" in made
    options = ["--hardware", "2", "--hardware", "3", "--high-risk", "--notes", "Better"]
    added = farfix(
        "release", "sign", room, str(image), *CHILLER, "1.1.0", *options, *signed_by,
        *keys_of(kit, "targets-1"),
    )  # fmt: skip
    assert "added: chiller 1.1.0, 900 bytes" in said(added)
    assert "1 more signature needed" in said(added)
    assert "signed; it counts" in said(farfix("release", "sign", room, *keys_of(kit, "targets-2")))
    assert "published (root 1, targets 2" in said(farfix("release", "publish", room, *online(kit)))
    again = said(farfix("release", "publish", room, *online(kit)))
    assert "no other releases than before, dates renewed" in again
    root = ("--root", str(kit / "room" / "metadata" / "1.root.json"))
    seen = said(farfix("release", "verify", room, *root))
    for part in ("chiller", "1.1.0", "2, 3", "0.0.0", "900", "high", "Better", "timestamp"):
        assert part in seen


def test_what_is_not_to_be_believed_ends_with_1_and_why(
    farfix: Farfix, tmp_path: Path, image: Path
) -> None:
    kit, other = rig.kit(tmp_path / "kit"), rig.kit(tmp_path / "other")
    root = ("--root", str(other.room.first_root))
    done = farfix("release", "verify", str(kit.room.folder), *root)
    assert done.returncode == 1
    assert "the timestamp metadata has 0 of 1 signatures" in done.stderr
    with rig.served(kit) as url:
        good = ("--root", str(kit.room.first_root), "--image-key", str(kit.room.image_key))
        assert "image signature checked" in said(farfix("release", "verify", url, *good))
        assert farfix("release", "verify", url, *root).returncode == 1
        wrong = ("--root", str(kit.room.first_root), "--image-key", str(other.room.image_key))
        done = farfix("release", "verify", url, *wrong)
        assert (done.returncode, "not signed by the key" in done.stderr) == (1, True)
    done = farfix("release", "verify", url, *good)
    assert done.returncode == 1
    assert f"cannot be reached: GET {url}" in done.stderr


def test_a_rollback_is_noticed_by_who_remembers(farfix: Farfix, tmp_path: Path) -> None:
    kit = rig.kit(tmp_path / "kit")
    old = (kit.room.metadata / "timestamp.json").read_bytes()
    asked = ["release", "verify", str(kit.room.folder), "--root", str(kit.room.first_root)]
    state = ("--state", str(tmp_path / "state"))
    release_kit.publish(kit)
    said(farfix(*asked, *state))
    (kit.room.metadata / "timestamp.json").write_bytes(old)
    said(farfix(*asked))
    done = farfix(*asked, *state)
    assert done.returncode == 1
    assert "older than what was seen before" in done.stderr


def test_a_key_is_replaced_by_two_people(farfix: Farfix, tmp_path: Path) -> None:
    kit = rig.kit(tmp_path / "kit")
    room, new = str(kit.room.folder), tmp_path / "new.pem"
    keyid = said(farfix("release", "key", str(new))).rpartition(" ")[2]
    first = ["release", "rotate", room, "targets", "--add", str(new)]
    waits = said(farfix(*first, *keys_of(kit.folder, "root-1")))
    assert "root version 2: 1 more signature needed" in waits
    assert "signed" in said(farfix("release", "sign", room, *keys_of(kit.folder, "root-3")))
    gone = ["release", "rotate", room, "targets", "--remove", keyid]
    assert "root version 3: signed" in said(farfix(*gone, *keys_of(kit.folder, "root-1", "root-2")))
    done = farfix("release", "sign", room, "--key", str(new))
    assert done.returncode == 1
    assert "signs neither the root nor the targets" in done.stderr


def test_releases_are_renewed_and_withdrawn(farfix: Farfix, tmp_path: Path) -> None:
    kit = rig.kit(tmp_path / "kit")
    room, both = str(kit.room.folder), keys_of(kit.folder, "targets-1", "targets-2")
    assert "renewed for 30 days" in said(farfix("release", "sign", room, "--days", "30", *both))
    said(farfix("release", "withdraw", room, "chiller", "1.1.0", *both))
    assert release_kit.publish(kit).view.releases == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sign", "nowhere"], 2, "no release room"),
        (["sign", "ROOM", "nowhere", *CHILLER, "1.2.0"], 2, "cannot read"),
        (["sign", "ROOM", "IMAGE", "--machine-type", "teapot", "--version", "1.0.0"], 2, "teapot"),
        (["sign", "ROOM", "IMAGE"], 2, "no machine type"),
        (["sign", "ROOM", *CHILLER, "1.2.0"], 2, "no image"),
        (["sign", "ROOM", "IMAGE", *CHILLER, "1.1.0"], 1, "never changes"),
        (["sign", "ROOM", "IMAGE", *CHILLER, "1.2.0"], 1, "--image-key"),
        (["sign", "ROOM", "--key", "IMAGE"], 2, "no private ed25519 key"),
        (["key", "IMAGE"], 1, "left alone"),
        (["keygen", "KIT"], 1, "left alone"),
        (["keygen", "KIT", "--root-keys", "1"], 2, "makes no sense"),
        (["rotate", "ROOM", "captain"], 1, "no role"),
        (["verify", "ROOM", "--root", "nowhere"], 2, "cannot read"),
        (["verify", "nowhere", "--root", "IMAGE"], 2, "no release room"),
        (["verify", "ROOM", "--root", "IMAGE"], 1, "cannot be read"),
        (["verify", "ROOM", "--root", "IMAGE", "--image-key", "IMAGE"], 2, "is for URLs"),
        (["verify", "http://127.0.0.1:1", "--root", "IMAGE"], 1, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    farfix: Farfix, kit: Kit, image: Path, *, arguments: list[str], code: int, message: str
) -> None:
    places = {"ROOM": str(kit.room.folder), "IMAGE": str(image), "KIT": str(kit.folder)}
    done = farfix("release", *(places.get(argument, argument) for argument in arguments))
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


class Taker(rig.Handler):
    """A gateway's side of a publication, as the API describes it."""

    server: rig.Server
    denied = ""

    def do_PUT(self) -> None:  # noqa: N802 - the base class's name
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["authorization"] != "Bearer secret":
            self._answer(401, msgspec.json.encode({"detail": "This call needs the token"}))
            return
        file = Path(self.directory) / self.path.removeprefix("/api/repository").lstrip("/")
        if file == Path(self.directory):
            file = file / "publication.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        self.server.sent += 1
        self._answer(204, b"")

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/api/repository"))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[rig.Server]:
    (tmp_path / "taken").mkdir()
    handler = functools.partial(Taker, directory=str(tmp_path / "taken"))
    with rig.serving(handler) as server:
        yield server


def test_a_gateway_gets_the_images_it_lacks_and_all_metadata(
    kit: Kit, gateway: rig.Server, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    taken = tmp_path / "taken"
    client = Gateway(gateway.url, "secret")
    assert client.publish(kit.room, lambda *progress: told.append(progress)) == 1
    (file,) = (taken / "targets" / "chiller").iterdir()
    assert file.read_bytes() == rig.IMAGE
    assert told == [(f"chiller/{file.name}", len(rig.IMAGE), len(rig.IMAGE))]
    metadata = msgspec.json.decode((taken / "publication.json").read_bytes())["metadata"]
    assert metadata["1.root.json"] == kit.room.first_root.read_text()
    assert client.publish(kit.room) == 0
    file.write_bytes(b"part")  # the gateway has something else under this name
    assert client.publish(kit.room) == 1
    client.close()


def test_a_publication_travels_from_the_command_line(
    farfix: Farfix, kit: Kit, gateway: rig.Server, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    asked = ["release", "publish", str(kit.room.folder), *online(kit.folder)]
    asked += ["--gateway", gateway.url, "--token-file", str(token)]
    assert "has taken it: 1 new image" in said(farfix(*asked))
    token.write_text("wrong\n")
    done = farfix(*asked)
    assert done.returncode == 1
    assert "answered 401" in done.stderr
    assert "needs the token" in done.stderr
    shutil.rmtree(tmp_path / "taken")


def test_a_gateway_that_is_away_is_told(kit: Kit, tmp_path: Path) -> None:
    client = Gateway("http://127.0.0.1:1", "secret")
    with pytest.raises(Unreachable, match="does not answer"):
        client.publish(kit.room)
    client.close()


def test_nothing_is_handed_in_that_was_not_published(tmp_path: Path, gateway: rig.Server) -> None:
    kit = release_kit.make(tmp_path / "fresh")
    client = Gateway(gateway.url, "wrong")
    with pytest.raises(Malformed, match="not published yet"):
        client.publish(kit.room)
    release_kit.publish(kit)
    with pytest.raises(Refused, match="answered 401"):
        client.publish(kit.room)
    client.close()
    assert gateway.sent == 0


HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto-release.md"
COMMANDS = re.findall(
    r"farfix release (?!VERB)(\w+)(.*?)(?:`|\n\n|\n```)", HOWTO.read_text(), re.DOTALL
)


@pytest.mark.parametrize("verb", sorted({verb for verb, _ in COMMANDS}))
def test_the_howto_names_options_that_exist(verb: str, farfix: Farfix) -> None:
    options = {o for v, rest in COMMANDS if v == verb for o in re.findall(r"--[a-z-]+", rest)}
    known = farfix("release", verb, "--help").stdout
    assert "Usage" in known
    assert all(option in known for option in options), options


def test_the_howto_tells_of_every_verb(farfix: Farfix) -> None:
    told = {verb for verb, _ in COMMANDS}
    assert told == {"keygen", "key", "sign", "rotate", "withdraw", "publish", "verify"}
    for verb in told:
        assert f" {verb} " in farfix("release", "--help").stdout
