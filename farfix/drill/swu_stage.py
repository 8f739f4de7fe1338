"""The stage of the drill: releases, signed and published, and a gateway that serves them."""

import os
import secrets
import shutil
from pathlib import Path

from msgspec import Struct

from cloud.adapters.broker import Broker, User
from contract.firmware import Claims, Format
from farfix import release_kit, toml
from farfix.children import free_port
from farfix.drill import swu_bundle, swu_plan
from farfix.drill.swu_bundle import Bundle, Signer
from farfix.drill.swu_plan import Run
from farfix.release_kit import Kit

MACHINE_TYPE = "edge_computer"
SITE = "drill"
PLANT = "plant"
USERS = [User("gateway"), User(PLANT, SITE)]
FACTORY = "1.0.0"
"""What every computer runs at first; also in the repository, as a way back."""
RELEASES = 12
SMALLEST_BYTES, LARGEST_BYTES = 20_000, 8_000_000
FACTORY_BYTES = 100_000
SILENT_AFTER_S = 86_400.0
"""A computer falls silent after its run, which is no fault."""
POLL_S = 1


class Stage(Struct, frozen=True, kw_only=True):
    """Where everything lies and listens."""

    folder: Path
    kit: Kit
    signer: Signer
    bundles: dict[str, Bundle]
    """By version; both good ones and those of the stranger."""
    http_port: int
    proxy_port: int
    api_token: str

    @property
    def base_url(self) -> str:
        """The gateway itself."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def proxy_url(self) -> str:
        """What computers take for the gateway."""
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def config(self) -> Path:
        """The gateway's config file."""
        return self.folder / "cloud.toml"


def good(release: int) -> str:
    """Return the version of a release."""
    return f"1.{release + 1}.0"


def strange(release: int) -> str:
    """Return the version of its twin that a stranger signed."""
    return f"1.{release + 1}.666"


def prepare(folder: Path, seed: int) -> Stage:
    """Make a fresh folder with keys, bundles and a published repository."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    kit = release_kit.make(folder / "release", root_keys=1, root_threshold=1)
    signer = swu_bundle.make_signer(folder, "maker")
    stranger = swu_bundle.make_signer(folder, "stranger")
    bundles = [_bundle(folder, FACTORY, FACTORY_BYTES, seed, signer)]
    drawn = swu_plan.sizes(RELEASES, SMALLEST_BYTES, LARGEST_BYTES, seed)
    for release, size_bytes in enumerate(drawn):
        bundles.append(_bundle(folder, good(release), size_bytes, seed, signer))
        bundles.append(_bundle(folder, strange(release), size_bytes, seed, stranger))
    for bundle in bundles:
        claims = Claims(machine_type=MACHINE_TYPE, version=bundle.version, format=Format.SWU)
        release_kit.release(kit, claims, bundle.file.read_bytes())
    release_kit.publish(kit)
    stage = Stage(
        folder=folder,
        kit=kit,
        signer=signer,
        bundles={bundle.version: bundle for bundle in bundles},
        http_port=free_port(),
        proxy_port=free_port(),
        api_token=secrets.token_urlsafe(24),
    )
    file = folder / "api.token"
    file.touch(mode=0o600)
    file.write_text(stage.api_token + "\n")
    return stage


def write_config(stage: Stage, broker: Broker, runs: list[Run]) -> None:
    """Write the gateway's config. Its address is the proxy's, so its links lead there."""
    config: toml.Table = {
        "data_dir": stage.folder / "cloud",
        "http_port": stage.http_port,
        "public_url": stage.proxy_url,
        "api_token_file": stage.folder / "api.token",
        "release_root": stage.kit.room.first_root,
        "ddi_poll_s": POLL_S,
        "silent_after_s": SILENT_AFTER_S,
        "broker": {
            "url": broker.url,
            "username": "gateway",
            "password_file": broker.password_file("gateway"),
        },
        "assets": [
            {"device": run.device, "site": SITE, "machine_type": MACHINE_TYPE} for run in runs
        ],
    }
    stage.config.write_text(toml.dumps(config))


def open_to_computers(stage: Stage, folder: Path) -> Path:
    """Put the maker's certificate where computers, which may run as another user, can read it."""
    certificate = folder / "maker.pem"
    shutil.copyfile(stage.signer.certificate, certificate)
    certificate.chmod(0o644)
    if os.getuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    return certificate


def _bundle(folder: Path, version: str, size_bytes: int, seed: int, signer: Signer) -> Bundle:
    content = swu_bundle.payload(version, size_bytes, seed)
    return swu_bundle.build(folder / "bundles" / version, version, content, signer)
