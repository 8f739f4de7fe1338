"""Look around for what would keep Farfix from working, and say what to do about it."""

import asyncio
import importlib.metadata
import importlib.util
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from contract.errors import FarfixError, Malformed

TIMEOUT_S = 5.0
EARLIEST_S = 1_735_689_600
"""2025-01-01: a clock before that was never set."""
PACKAGES = {
    "edge": ("aiomqtt", "httpx", "pymodbus", "serial"),
    "sim": ("pymodbus", "serial"),
    "cloud": ("aiomqtt", "alembic", "amqtt", "fastapi", "httpx", "nicegui", "sqlalchemy"),
}


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    level: str
    """``ok``, ``warn`` or ``fail``."""
    text: str
    todo: str = ""


def main(config: Path | None) -> int:
    """Print every finding; return 1 if one keeps Farfix from working."""
    failed = False
    for finding in look(config):
        print(f"{finding.level:4}  {finding.text}")
        if finding.todo:
            print(f"      -> {finding.todo}")
        failed |= finding.level == "fail"
    return 1 if failed else 0


def look(config: Path | None) -> Iterator[Finding]:
    """Yield what was found about this machine, and about a config if one is given."""
    yield python()
    yield from packages()
    yield own_broker()
    yield clock()
    if config is None:
        yield port_free("127.0.0.1", 8080, "the gateway's API and console")
        yield writable(Path("var"))
        return
    from farfix import validate  # noqa: PLC0415 - only with a config

    try:
        kind = validate.check(config)
    except Malformed as error:
        yield Finding("fail", f"{config}: {error}", "correct the file; see docs/reference")
        return
    yield Finding("ok", f"{config}: {kind}")
    if kind.startswith("edge agent"):
        yield from _edge(config)
    elif kind.startswith("gateway"):
        yield from _cloud(config)


def python() -> Finding:
    """Look at the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - the doctor says so instead of failing oddly
        return Finding("fail", f"Python {version}", "install Python 3.11 or newer")
    return Finding("ok", f"Python {version} at {sys.executable}")


def packages() -> Iterator[Finding]:
    """Look for what each program needs."""
    for program, names in PACKAGES.items():
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        if missing:
            yield Finding(
                "warn",
                f"farfix {program} cannot run: {', '.join(missing)} missing",
                f"pip install 'farfix[{program}]' (or make setup)",
            )
        else:
            yield Finding("ok", f"farfix {program}: all packages are there")


def own_broker() -> Finding:
    """Look for a broker that Farfix could start itself."""
    from cloud.adapters.broker import mosquitto_program  # noqa: PLC0415 - one check's own

    program = mosquitto_program()
    if program:
        return Finding("ok", f"mosquitto at {program}")
    if importlib.util.find_spec("amqtt") is not None:
        return Finding(
            "warn",
            f"no mosquitto; amqtt {importlib.metadata.version('amqtt')} stands in, for up to "
            "about a thousand messages a second",
            "install mosquitto (Debian: apt install mosquitto) or give the URL of a broker",
        )
    return Finding("fail", "neither mosquitto nor amqtt", "install mosquitto, or make setup")


def clock() -> Finding:
    """Look at the clock: event times are taken from it."""
    now_s = time.time()  # noqa: TID251 - the wall clock itself is what is looked at
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < EARLIEST_S:
        return Finding("fail", f"the clock says {text}", "set it, and keep it by NTP")
    return Finding("ok", f"the clock says {text}")


def port_free(host: str, port: int, use: str) -> Finding:
    """Look whether a port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                "warn",
                f"port {port} on {host}, {use}: {error.strerror}",
                "end what listens there (perhaps a running gateway), or set http_port",
            )
    return Finding("ok", f"port {port} on {host} is free for {use}")


def writable(folder: Path) -> Finding:
    """Look whether data can be kept, and how much room there is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
        room = os.statvfs(folder)
    except OSError as error:
        return Finding("fail", f"{folder}: {error.strerror}", "let this user write there")
    free_mb = room.f_bavail * room.f_frsize / 1e6
    if free_mb < 500:
        return Finding("warn", f"{folder}: only {free_mb:.0f} MB left", "make room")
    return Finding("ok", f"{folder} can be written, {free_mb / 1000:.1f} GB left")


def reachable(url: str, what: str) -> Finding:
    """Look whether something listens behind a URL."""
    parts = urlsplit(url)
    standard = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883, "postgresql": 5432}
    port = parts.port or standard.get(parts.scheme.partition("+")[0], 0)
    try:
        socket.create_connection((parts.hostname or "", port), TIMEOUT_S).close()
    except OSError as error:
        return Finding(
            "fail", f"{what} at {parts.hostname}:{port}: {error}", "start it, or correct the URL"
        )
    return Finding("ok", f"{what} at {parts.hostname}:{port} answers")


def _edge(file: Path) -> Iterator[Finding]:
    from edge.config import load  # noqa: PLC0415 - only for an agent's config

    config = load(file)
    yield writable(config.data_dir)
    yield reachable(config.broker.url, "broker")
    for bus in config.buses:
        if bus.kind == "tcp":
            yield reachable(f"modbus://{bus.host}:{bus.port}", f"bus {bus.name}")
        elif os.access(bus.path, os.R_OK | os.W_OK):
            yield Finding("ok", f"bus {bus.name}: {bus.path} can be opened")
        else:
            yield Finding(
                "fail",
                f"bus {bus.name}: {bus.path} cannot be opened",
                "plug the adapter in, and put this user into the group dialout",
            )


def _cloud(file: Path) -> Iterator[Finding]:
    from cloud.config import load  # noqa: PLC0415 - only for the gateway's config

    config = load(file)
    yield writable(config.data_dir)
    yield port_free(config.http_host, config.http_port, "API and console")
    if config.broker.url:
        yield reachable(config.broker.url, "broker")
    if config.database_url and not config.database_url.startswith("sqlite"):
        yield reachable(config.database_url, "database")
    if config.series.kind != "sqlite":
        yield reachable(config.series.url, "telemetry store")
    if config.webhook.url:
        hook = config.webhook
        yield from _webhook(hook.url, hook.secret_file, allow_private=hook.allow_private)
    else:
        yield Finding(
            "warn",
            "no webhook in the file: tickets go where the console's Webhooks page says",
            "set [webhook] url and secret_file, or add an endpoint there",
        )


def _webhook(url: str, secret_file: Path | None, *, allow_private: bool) -> Iterator[Finding]:
    from cloud.adapters import outgoing, webhook  # noqa: PLC0415 - only for the gateway's config

    yield reachable(url, "webhook")
    try:
        asyncio.run(outgoing.vetted(url, allow_private=allow_private))
    except FarfixError as error:
        yield Finding("fail", str(error))
    try:
        text = secret_file.read_text().strip() if secret_file else ""
        webhook.signed_request(text, "doctor", 0, b"")
    except OSError as error:
        yield Finding("fail", f"{secret_file}: {error.strerror}", "make it readable")
    except FarfixError as error:
        yield Finding("fail", f"{secret_file}: {error}")
    else:
        yield Finding("ok", "the webhook's secret can be used")
