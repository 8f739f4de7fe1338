"""Passwords, keys, secrets and certificates of an installation.

Made once and never overwritten; only certificates that are about to end are made anew.

The folder is private (0700). The files in it are readable, since containers run as other users
and see nothing of the folder but the file that is mounted for them; the signing keys and the
authority's key stay 0600 because no container gets them.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cloud.adapters import broker, webhook
from cloud.adapters.broker import User
from cloud.adapters.clock import PlantClock
from contract.errors import Refused
from farfix import certificates, release_kit
from farfix.release_kit import Kit

SITES = ("north",)
USERS = [User("gateway"), *(User(f"edge-{site}", site) for site in SITES)]


def make(folder: Path) -> list[Path]:
    """Make what is missing and return the files that were made.

    Raises:
        Refused: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = [file for name in _PLAIN if (file := _write(folder / name, _token))]
        made += [file for user in USERS if (file := _write(_password(folder, user), _token))]
        made += _derived(folder)
        made += certificates.make(folder, datetime.fromtimestamp(PlantClock().now_ns() / 1e9, UTC))
    except OSError as error:
        raise Refused(f"cannot make secrets in {folder}: {error.strerror}") from error
    return made


_PLAIN = (
    "admin.password",
    "alerts.secret",
    "api.token",
    "influx.token",
    "influx.password",
    "postgres.password",
    "grafana.password",
)


def _derived(folder: Path) -> list[Path]:
    """Make what follows from the rest: the broker's tables, the release room, the environments."""
    kit = Kit(folder / "release")
    if not kit.folder.exists():
        release_kit.make(kit.folder)
    postgres = (folder / "postgres.password").read_text().strip()
    texts: dict[str, Callable[[], str]] = {
        "webhook.secret": lambda: webhook.new_secret() + "\n",
        "mosquitto.users": lambda: _mosquitto_users(folder),
        "mosquitto.access": lambda: broker.mosquitto_access(USERS),
        "cloud.env": lambda: (
            f"FARFIX_CLOUD_DATABASE_URL=postgresql+psycopg://farfix:{postgres}@postgres/farfix"
            "?sslmode=verify-full&sslrootcert=/run/secrets/ca.crt\n"
        ),
        "release.root.json": kit.room.first_root.read_text,
        "sim.env": lambda: f"FARFIX_SIM_TRUSTED_KEY={kit.image_key}\n",
    }
    return [file for name, text in texts.items() if (file := _write(folder / name, text))]


def _mosquitto_users(folder: Path) -> str:
    return "".join(
        f"{user.name}:{broker.mosquitto_hash(_password(folder, user).read_text().strip())}\n"
        for user in USERS
    )


def _password(folder: Path, user: User) -> Path:
    return folder / f"{user.name}.password"


def _token() -> str:
    return secrets.token_urlsafe(32) + "\n"


def _write(file: Path, text: Callable[[], str]) -> Path | None:
    if file.exists():
        return None
    file.write_text(text())
    file.chmod(0o644)
    return file
