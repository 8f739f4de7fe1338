"""A broker of our own, for whoever has none: mosquitto where it is installed, else amqtt.

Never anonymous. Every user may only do what the contract's channels say: the gateway reads what a
plant writes and writes what a plant reads; a site's user does the opposite, on its own site only.
Both brokers listen on the loopback interface alone; a plant-wide broker is given by its URL.

amqtt (pure Python, needs nothing installed) is for demonstrations and small sites: about a
thousand messages a second, MQTT 3.1.1 only, and what it has queued is lost when it restarts. That
is bearable because edge agents keep everything until the gateway itself acknowledges it.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from contract import codec, topics
from contract.errors import Refused, Unreachable

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
SAVE_EVERY_S = 5
"""What mosquitto forgets at most when it is killed. By time and not by changes, since every save
writes all it holds and holds up all clients meanwhile; agents keep telemetry, the gateway commands.
"""
MOSQUITTO_PATH = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Where packages put it, often outside a user's PATH."""
_HASH_ROUNDS = 101
"""mosquitto's own default. Our passwords are 256 random bits, so more would add nothing."""


class Kind(StrEnum):
    """Which program serves."""

    MOSQUITTO = "mosquitto"
    AMQTT = "amqtt"


class User(Struct, frozen=True):
    """Someone who may log in: a site's agents, or the gateway when ``site`` is empty."""

    name: str
    site: str = ""

    @property
    def reads(self) -> list[str]:
        """Topic filters that this user may subscribe to."""
        if not self.site:
            return [topics.site_filter("+", c) for c in topics.FROM_PLANT]
        return [topics.site_filter(self.site, c) for c in topics.TO_PLANT]

    @property
    def writes(self) -> list[str]:
        """Topic filters that this user may publish to."""
        if not self.site:
            return [topics.site_filter("+", c) for c in topics.TO_PLANT]
        return [topics.site_filter(self.site, c) for c in topics.FROM_PLANT]


class Broker:
    """A running broker; leave its ``with`` block or call `stop` to end it."""

    def __init__(self, kind: Kind, port: int, data_dir: Path, command: list[str]) -> None:
        self.kind = kind
        self.url = f"mqtt://127.0.0.1:{port}"
        self.port = port
        self._data_dir, self._command = data_dir, command
        self._child = _spawn(command, data_dir)

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        return self._child.pid

    def password_file(self, user: str) -> Path:
        """Return the file (mode 0600) that holds a user's password."""
        return self._data_dir / "passwords" / user

    def password(self, user: str) -> str:
        """Return a user's password."""
        return self.password_file(user).read_text().strip()

    def running(self) -> bool:
        """Tell whether the broker still runs."""
        return self._child.poll() is None

    def revive(self) -> None:
        """Start a broker that has died again, with what it had saved.

        Raises:
            Unreachable: it did not come up.
            Refused: its port is taken by now.
        """
        _free_port(self.port)
        self._child = _spawn(self._command, self._data_dir)
        _await_ready(self, self._data_dir / "broker.log")

    def stop(self) -> None:
        """End the broker; what it holds is saved where the broker can."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        if self.running():
            self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        (self._data_dir / "broker.pid").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()


def mosquitto_program() -> str | None:
    """Return the path of the installed mosquitto, if there is one."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=MOSQUITTO_PATH)


def start(data_dir: Path, users: Sequence[User], port: int = 0, kind: Kind | None = None) -> Broker:
    """Start a broker and wait until it accepts connections.

    Passwords are generated once and kept in ``data_dir``, so agents keep theirs over a restart.
    A broker that an earlier run left behind in the same ``data_dir`` is ended first.

    Args:
        data_dir: everything the broker keeps; made if missing.
        users: who may log in.
        port: on 127.0.0.1; 0 takes a free one.
        kind: which program; left out, mosquitto if it is installed, else amqtt.

    Raises:
        Unreachable: it did not come up; the text holds the end of its log.
        Refused: mosquitto was asked for and is not installed, or the port is taken.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = mosquitto_program()
    kind = kind or (Kind.MOSQUITTO if program else Kind.AMQTT)
    _end_leftover(data_dir)
    port = _free_port(port)
    passwords = {user.name: _password(data_dir, topics.name(user.name)) for user in users}
    if kind is Kind.MOSQUITTO:
        if program is None:
            raise Refused("mosquitto is not installed (Debian: apt install mosquitto)")
        command = [program, "-c", str(_mosquitto_config(data_dir, users, passwords, port))]
    else:
        config = _amqtt_config(data_dir, users, passwords, port)
        command = [sys.executable, "-P", "-m", "cloud.adapters.embedded_broker", str(config)]
    broker = Broker(kind, port, data_dir, command)
    _await_ready(broker, data_dir / "broker.log")
    return broker


def _spawn(command: list[str], data_dir: Path) -> subprocess.Popen[bytes]:
    with (data_dir / "broker.log").open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    (data_dir / "broker.pid").write_text(str(child.pid))
    return child


def _await_ready(broker: Broker, log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while broker.running() and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", broker.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    broker.stop()
    raise Unreachable(f"{broker.kind} did not start on port {broker.port}: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:].strip() or "it wrote no log"


def _free_port(port: int) -> int:
    """Check that nobody listens on a port; 0 takes one.

    One below those that systems give to outgoing connections: no such connection may get it before
    the broker listens there.
    """
    taken = port or 20_000 + secrets.randbelow(12_000)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", taken))
        except OSError as error:
            if not port:
                return _free_port(0)
            raise Refused(
                f"port {port} is taken: end what listens there or choose another"
            ) from error
    return taken


def _private(path: Path, text: str) -> Path:
    """Write a file that only its owner may read, whatever it was before."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def _password(data_dir: Path, user: str) -> str:
    path = data_dir / "passwords" / user
    if not path.exists():
        _private(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


def mosquitto_hash(password: str) -> str:
    """Hash a password as mosquitto's password file has it: ``$7$rounds$salt$PBKDF2-SHA512``."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS)
    text = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"$7${_HASH_ROUNDS}${text[0]}${text[1]}"


def mosquitto_access(users: Sequence[User]) -> str:
    """Return mosquitto's access list: what every user may read and write."""
    return "".join(
        f"user {user.name}\n"
        + "".join(f"topic read {topic}\n" for topic in user.reads)
        + "".join(f"topic write {topic}\n" for topic in user.writes)
        for user in users
    )


def _mosquitto_config(
    data_dir: Path, users: Sequence[User], passwords: dict[str, str], port: int
) -> Path:
    hashes = [f"{name}:{mosquitto_hash(password)}\n" for name, password in passwords.items()]
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous false",
        f"password_file {_private(data_dir / 'users', ''.join(hashes))}",
        f"acl_file {_private(data_dir / 'access', mosquitto_access(users))}",
        "persistence true",
        f"persistence_location {data_dir}/",
        f"autosave_interval {SAVE_EVERY_S}",
        "max_queued_messages 100000",
        "max_inflight_messages 0",  # the gateway bounds what is on its way; see ADR 7
        f"max_queued_bytes {64 * 1024 * 1024}",
        f"message_size_limit {codec.MAX_MESSAGE_BYTES}",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it gives up its rights and cannot read our 0600 files
    return _private(data_dir / "mosquitto.conf", "\n".join(lines) + "\n")


def _amqtt_config(
    data_dir: Path, users: Sequence[User], passwords: dict[str, str], port: int
) -> Path:
    from pwdlib import PasswordHash  # noqa: PLC0415 - slow to load, and only amqtt needs it

    hasher = PasswordHash.recommended()
    hashes = [f"{name}:{hasher.hash(password)}\n" for name, password in passwords.items()]
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.FileAuthPlugin": {
                "password_file": str(_private(data_dir / "users", "".join(hashes)))
            },
            "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {
                "publish_acl": {user.name: user.writes for user in users},
                "acl": {user.name: user.reads for user in users},
            },
        },
    }
    return _private(data_dir / "amqtt.json", json.dumps(config, indent=1))


def _end_leftover(data_dir: Path) -> None:
    """End the broker of an earlier run that was killed before it could end its child."""
    pid_file = data_dir / "broker.pid"
    if not pid_file.exists():
        return
    text = pid_file.read_text().strip()
    if text.isdigit() and str(data_dir) in _command_line(int(text)):
        os.kill(int(text), signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while str(data_dir) in _command_line(int(text)):
            if time.monotonic() > deadline_s:
                raise Refused(
                    f"process {text}, a broker left behind in {data_dir}, does not end: kill it"
                )
            time.sleep(0.05)
    pid_file.unlink()


def _command_line(pid: int) -> str:
    """Return how a process was started; empty when there is none (or it is a zombie)."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            return ""
    done = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False
    )
    return done.stdout
