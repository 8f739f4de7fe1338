"""`farfix drill dispatch`: does every ticket reach a receiver that fails, exactly once?

The gateway, its broker and its database are the real ones, and the gateway is killed again and
again. Cases are opened by alerts and ended by their end, or by a closing report. Ours is the
receiver (`dispatch_receiver`), which fails at random and verifies every signature.
"""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from cloud.adapters import broker, webhook
from cloud.adapters.broker import Broker, User
from cloud.adapters.clock import PlantClock
from cloud.core.telling import EventType
from contract.errors import FarfixError, Refused, Unreachable
from farfix import toml
from farfix.children import end_like_ctrl_c, free_port, tail
from farfix.drill.dispatch_report import Report, say
from farfix.screen import check_report, write_report

if TYPE_CHECKING:
    from farfix.drill.dispatch_receiver import Receiver

SPEED = 1000.0
"""Of plant time: the schedule's three days pass in five minutes."""
READY_S = 300.0
BATCH = 20
"""Alerts in one request."""
LOOK_S = 0.2
GONE = 3
"""How often the receiver says that it wants nothing more, and is enabled again."""
STALLED_S = 180.0
"""The drill gives up when nothing new has come for so long."""
SITE = "drill"
TOKEN = "drill-" + "0" * 26


def main(cases: int, kills: int, seed: int, report_file: Path | None) -> int:
    """Run the drill; return the exit code."""
    check_report(report_file)
    if importlib.util.find_spec("standardwebhooks") is None:
        raise Refused("this drill needs the package standardwebhooks: pip install 'farfix[dev]'")
    end_like_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="farfix-drill-") as folder:
        try:
            found = run(Path(folder), cases, kills, seed)
        except FarfixError as error:
            print(f"farfix drill: {error}", file=sys.stderr)
            return 1
    if report_file is not None:
        write_report(report_file, found)
    say(found)
    return 1 if found.problems else 0


def run(folder: Path, cases: int, kills: int, seed: int) -> Report:
    """Let some cases live and end while the gateway is killed, and count what came."""
    from farfix.drill.dispatch_receiver import Receiver  # noqa: PLC0415 - looked for before

    secret = webhook.new_secret()
    begun_s = time.monotonic()
    with (
        Receiver(secret, seed) as receiver,
        broker.start(folder / "broker", [User("gateway"), User(SITE, SITE)]) as its_broker,
    ):
        gateway = Gateway(folder, its_broker, receiver.url, secret, cases)
        with gateway.running():
            drill = Drill(gateway, receiver, random.Random(seed), cases, kills)  # noqa: S311
            drill.play()
        expected = drill.expected
    return Report(
        cases=cases,
        kills=drill.killed,
        seed=seed,
        minutes=round((time.monotonic() - begun_s) / 60, 2),
        events=len(receiver.taken),
        requests=sum(receiver.requests.values()),
        requests_max=max(receiver.requests.values(), default=0),
        answers=dict(receiver.answers.most_common()),
        enabled_again=drill.enabled,
        withdrawn=list(receiver.ended.values()).count(EventType.TICKET_WITHDRAWN),
        closed=list(receiver.ended.values()).count(EventType.TICKET_CLOSED),
        processors=os.cpu_count() or 1,
        problems=[*drill.problems, *receiver.judge(expected)],
    )


class Gateway:
    """A real gateway in processes of its own, that can be killed at any moment."""

    def __init__(
        self, folder: Path, its_broker: Broker, hook_url: str, secret: str, machines: int
    ) -> None:
        self.port, self._log = free_port(), folder / "gateway.log"
        self._config = folder / "cloud.toml"
        self._process: subprocess.Popen[bytes] | None = None
        for name, text in (("api.token", TOKEN), ("webhook.secret", secret)):
            (folder / name).write_text(text)
        (folder / "broker.password").write_text(its_broker.password("gateway"))
        settings: toml.Table = {
            "data_dir": folder / "data",
            "timescale": f"{SPEED:g}@{PlantClock().now_ns()}",
            "http_port": self.port,
            "api_token_file": folder / "api.token",
            "broker": {
                "url": its_broker.url,
                "username": "gateway",
                "password_file": folder / "broker.password",
            },
            "webhook": {
                "url": hook_url,
                "secret_file": folder / "webhook.secret",
                "allow_private": True,
            },
            "assets": [
                {"device": device(n), "site": SITE, "machine_type": "centrifugal_pump"}
                for n in range(machines)
            ],
        }
        self._config.write_text(toml.dumps(settings))
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        self.start()
        try:
            yield
        finally:
            self.kill()
            self._client.close()

    def start(self) -> None:
        """Start it and wait until it can work."""
        command = [sys.executable, "-P", "-m", "cloud", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        deadline_s = time.monotonic() + READY_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise Unreachable(f"the gateway does not start: {tail(self._log)}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            return self._client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL it and its workers, without a word."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask(self, method: str, path: str, body: object = None) -> object:
        """Ask its API; None where it did not answer, or not now.

        Raises:
            Refused: it does not want what was asked.
        """
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            return None
        if not answer.is_success:
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


def device(number: int) -> str:
    """Return the name of a machine."""
    return f"pump-{number:04}"


class Drill:
    """The course of one drill."""

    def __init__(
        self, gateway: Gateway, receiver: "Receiver", dice: random.Random, cases: int, kills: int
    ) -> None:
        self._gateway, self._receiver, self._cases = gateway, receiver, cases
        self._told: set[int] = set()
        self._asked: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.killed, self.enabled = 0, 0
        self.problems: list[str] = []
        marks = range(1, 2 * cases)
        self._kills = sorted(dice.sample(marks, min(kills, len(marks))))
        self._gone = sorted(dice.sample(marks, min(GONE, len(marks))))
        self._dice = dice
        self._moved = (time.monotonic(), 0)

    def play(self) -> None:
        """Open and end all cases, with kills in between.

        Raises:
            Unreachable: the gateway does not start again.
        """
        while self._kills or len(self._receiver.ended) < self._cases:
            self._open()
            self._end()
            self._harm()
            if self._stalled():
                self.problems.append(f"nothing new came for {STALLED_S:g} s")
                break
            time.sleep(LOOK_S)
        self._drain()

    def _harm(self) -> None:
        """Kill the gateway, or let the receiver be gone, where it is planned."""
        come = self._come()
        while self._gone and come >= self._gone[0]:
            self._gone.pop(0)
            self._receiver.gone()
        if self._kills and come >= self._kills[0]:
            self._kills.pop(0)
            time.sleep(self._dice.random() * 0.5)
            self._gateway.kill()
            self.killed += 1
            self._gateway.start()
        self._enable()

    def _come(self) -> int:
        return len(self._receiver.opened) + len(self._receiver.ended)

    def _stalled(self) -> bool:
        now_s, come = time.monotonic(), self._come()
        if come != self._moved[1]:
            self._moved = (now_s, come)
        return now_s - self._moved[0] > STALLED_S

    def _open(self) -> None:
        left = [n for n in range(self._cases) if n not in self._told][:BATCH]
        if left and self._alert(left, "firing"):
            self._told.update(left)

    def _alert(self, numbers: Sequence[int], status: str) -> bool:
        now = datetime.fromtimestamp(PlantClock().now_ns() / 1e9, UTC).isoformat()
        alerts = [
            {
                "status": status,
                "labels": {"alertname": "Drill", "device": device(n), "severity": "critical"},
                "annotations": {"summary": f"Drill {n}"},
                "startsAt": self._asked.setdefault(device(n), now),
                "endsAt": now if status == "resolved" else "0001-01-01T00:00:00Z",
                "fingerprint": f"{n:016x}",
            }
            for n in numbers
        ]
        answer = self._gateway.ask("POST", "/api/alerts", {"status": status, "alerts": alerts})
        if not isinstance(answer, dict):
            return False
        for one in answer["alerts"]:
            if one["outcome"] == "refused":
                self.problems.append(f"alert {status} of {one['device']}: {one['detail']}")
        return True

    def _end(self) -> None:
        """End what dispatch knows: every other case is over by itself, the others are repaired."""
        for key in list(self._receiver.opened):
            if key in self.expected or self._cases_behind() > 4 * BATCH:
                continue
            number = int(key.split("-")[1])
            if number % 2 and self._alert([number], "resolved"):
                self.expected[key] = EventType.TICKET_WITHDRAWN.value
            elif not number % 2 and self._report(key):
                self.expected[key] = EventType.TICKET_CLOSED.value

    def _cases_behind(self) -> int:
        return len(self.expected) - len(self._receiver.ended)

    def _report(self, key: str) -> bool:
        report = {"finding": "other", "notes": "Drill", "technician": "J. Doe"}
        try:
            answer = self._gateway.ask("PUT", f"/api/dispatch/tickets/{key}/report", report)
        except Refused as error:
            self.problems.append(str(error))
            return True
        return answer is not None

    def _enable(self) -> None:
        found = self._gateway.ask("GET", "/api/webhooks")
        for endpoint in found if isinstance(found, list) else []:
            if endpoint["disabled"] and self._gateway.ask(
                "POST", f"/api/webhooks/{endpoint['id']}/enable"
            ):
                self.enabled += 1

    def _drain(self) -> None:
        """Wait until the gateway has nothing left to send, so that a late double would be seen."""
        deadline_s = time.monotonic() + STALLED_S
        while time.monotonic() < deadline_s:
            self._enable()
            found = self._gateway.ask("GET", "/api/webhooks")
            if isinstance(found, list) and not any(e["waiting"] for e in found):
                break
            time.sleep(LOOK_S)
        dead = self._gateway.ask("GET", "/api/webhooks/deliveries?state=dead")
        if dead != []:
            self.problems.append(f"given up: {dead}")
