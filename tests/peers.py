"""Real peers for tests: brokers and databases as child processes on free loopback ports.

Each function is a context manager that starts one peer in a directory of its own and stops it at
the end. A peer that is not installed skips the test and says how to get it; with the environment
variable ``CI`` set it fails the test instead, so that nothing goes untested unseen.
"""

import itertools
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import NoReturn

import httpx
import psycopg
import pytest

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 10.0
PORTS = 1000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9
_ports = itertools.count(random.randrange(PORTS))


def free_port() -> int:
    """Return a port of the loopback that nobody listens on and that nobody else is given.

    Every test process takes from ports of its own, one after the other: a peer may start late, or
    be killed and started again, and nobody has taken its port. They lie below those that programs
    of ours and systems choose for themselves.
    """
    while True:
        port = 11_000 + PORTS * _WORKER + next(_ports) % PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken; try the next
            return port


def missing(what: str, package: str) -> NoReturn:
    """Skip the running test for want of a peer; fail it in CI."""
    message = f"{what} is missing; install it with: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def program(name: str, package: str) -> str:
    """Return the path of a program, also where Debian keeps daemons and PostgreSQL's tools."""
    places = [*os.get_exec_path(), "/usr/sbin"]
    places += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join(places)) or missing(name, package)


def swupdate() -> str:
    """Return the path of swupdate, with what builds its bundles there too."""
    for tool in ("openssl", "cpio"):
        program(tool, tool)
    return program("swupdate", "swupdate")


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port of the loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    """Tell whether a GET succeeds."""
    try:
        return httpx.get(url, timeout=ANSWER_TIMEOUT_S).is_success
    except httpx.HTTPError:
        return False


def await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Wait until a child is ready; fail the test with its last words if it ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(
                f"{process.args!r} did not start: {log.read_text(errors='replace')[-2000:]}"
            )
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes], politely: int = signal.SIGTERM) -> None:
    """End a child, by force if it does not follow the signal."""
    process.send_signal(politely)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def child(command: list[str], ready: Callable[[], bool], directory: Path) -> Iterator[None]:
    """Run a peer until the block ends; what it prints goes to ``log`` in its directory."""
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        await_ready(process, ready, log)
        yield
    finally:
        stop(process)


@dataclass
class Mosquitto:
    """A broker that asks for a password and keeps what it promised over a restart.

    `kill` and `restart` let a test take it away; whoever kills it restarts it.
    """

    directory: Path
    port: int = field(default_factory=free_port)
    username: str = "gateway"
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None
    saves: bool = True
    """Whether it saves after every message, which makes it slow."""

    @property
    def url(self) -> str:
        """Address without credentials."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def password_file(self) -> Path:
        """A file that holds the user's password, for programs that read it from one."""
        return self.directory / "gateway.password"

    def prepare(self) -> None:
        """Write the configuration and the password files."""
        accounts, config = self.directory / "accounts", self.directory / "mosquitto.conf"
        self.password_file.write_text(self.password)
        accounts.touch(mode=0o600)
        tool = program("mosquitto_passwd", "mosquitto")
        subprocess.run([tool, "-b", accounts, self.username, self.password], check=True)
        config.write_text(
            f"user {getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {accounts}\npersistence true\npersistence_location {self.directory}/\n"
            "autosave_interval 1\nmax_queued_messages 100000\n"
            f"autosave_on_changes {str(self.saves).lower()}\n"
        )

    def start(self) -> None:
        """Start the broker and wait until it listens."""
        log = self.directory / "log"
        command = [program("mosquitto", "mosquitto"), "-c", str(self.directory / "mosquitto.conf")]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        await_ready(self.process, lambda: listens(self.port), log)

    def kill(self) -> None:
        """Let the broker die without a word (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End the broker so that it saves what it holds (SIGTERM)."""
        if self.process is not None:
            stop(self.process)
            self.process = None

    def restart(self) -> None:
        """Start it again on the same port with what it had saved."""
        self.stop()
        self.start()


@contextmanager
def mosquitto(directory: Path, *, saves: bool = True) -> Iterator[Mosquitto]:
    """Run a Mosquitto with one user and no anonymous access."""
    broker = Mosquitto(directory, saves=saves)
    broker.prepare()
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def influx(directory: Path, port: int = 0, certificates: Path | None = None) -> Iterator[str]:
    """Run an InfluxDB 1.x without any database and give its URL; with certificates by TLS."""
    port, inner = port or free_port(), free_port()
    config = directory / "influx.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{inner}"\n'
        f'[meta]\ndir = "{directory}/meta"\n'
        f'[data]\ndir = "{directory}/data"\nwal-dir = "{directory}/wal"\nindex-version = "tsi1"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        + (_https(certificates / "influxdb") if certificates else "")
        + "[monitor]\nstore-enabled = false\n"
    )
    url = f"{'https' if certificates else 'http'}://127.0.0.1:{port}"
    command = [program("influxd", "influxdb"), "-config", str(config)]
    ready = (lambda: listens(port)) if certificates else (lambda: answers(f"{url}/ping"))
    with child(command, ready, directory):
        yield url


def _https(path: Path) -> str:
    return (
        f'https-enabled = true\nhttps-certificate = "{path}.crt"\n'
        f'https-private-key = "{path}.key"\n'
    )


@contextmanager
def victoria(directory: Path) -> Iterator[str]:
    """Run a VictoriaMetrics, which takes InfluxDB's line protocol, and give its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        program("victoria-metrics", "victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={directory}/data",
        "-retentionPeriod=1200",  # months: tests write times of long ago
    ]
    with child(command, lambda: answers(f"{url}/health"), directory):
        yield url


def takes_queries(url: str) -> bool:
    """Tell whether a PostgreSQL that listens has come up so far that it lets people in."""
    try:
        psycopg.connect(url, connect_timeout=int(ANSWER_TIMEOUT_S)).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def postgres(certificates: Path | None = None) -> Iterator[str]:
    """Run a PostgreSQL and give the SQLAlchemy URL of its superuser.

    It refuses to run as root, so then it runs as the user ``nobody``, who owns the directory. With
    a folder of certificates (`farfix.certificates`) it speaks TLS.
    """
    initdb, server = program("initdb", "postgresql"), program("postgres", "postgresql")
    port, password = free_port(), secrets.token_hex(16)
    user, group = ("nobody", "nogroup") if os.getuid() == 0 else (None, None)
    with tempfile.TemporaryDirectory(prefix="farfix-postgres-") as name:
        directory = Path(name)
        secret, log = directory / "password", directory / "log"
        secret.write_text(password)
        if user:
            shutil.chown(directory, "nobody")
            shutil.chown(secret, "nobody")
        prepare = [initdb, "-D", f"{name}/data", "-U", "farfix", "-A", "scram-sha-256"]
        prepare += [f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync"]
        run = [server, "-D", f"{name}/data", "-h", "127.0.0.1", "-p", str(port), "-k", name, "-F"]
        for part in ("crt", "key") if certificates else ():
            copy = directory / f"postgres.{part}"
            copy.write_bytes((certificates / copy.name).read_bytes() if certificates else b"")
            copy.chmod(0o600)
            if user:
                shutil.chown(copy, user)
        if certificates:
            run += ["-c", "ssl=on", "-c", f"ssl_cert_file={directory}/postgres.crt"]
            run += ["-c", f"ssl_key_file={directory}/postgres.key"]
        with log.open("ab") as out:

            def start(command: list[str]) -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    command,
                    cwd=name,
                    stdout=out,
                    stderr=out,
                    user=user,
                    group=group,
                    extra_groups=[] if user else None,
                )

            if start(prepare).wait():
                pytest.fail(f"initdb did not succeed: {log.read_text()[-2000:]}")
            process = start(run)
        try:
            url = f"postgresql://farfix:{password}@127.0.0.1:{port}/postgres"
            await_ready(process, lambda: takes_queries(url), log)
            yield url.replace("postgresql", "postgresql+psycopg", 1)
        finally:
            stop(process, signal.SIGINT)  # does not wait for its clients to leave
