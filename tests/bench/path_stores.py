"""Time-series stores for the gateway to fill: the embedded one, InfluxDB 1.x, VictoriaMetrics."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

import httpx

from cloud.adapters import series_files
from contract.errors import Refused, Unreachable
from farfix.children import free_port, tail
from tests.bench import path_process

READY_S = 60.0
DATABASE = "farfix"
QUERY_S = 300.0


class Store(Protocol):
    """Where a gateway keeps telemetry."""

    name: str

    def config(self) -> str:
        """Return the table of the gateway's configuration."""
        ...

    def rows(self, measurement: str, field: str) -> int:
        """Count the rows of all devices that have a value there: what is stored, not what is said.

        One device's rows of the same instant are one row, but in VictoriaMetrics.
        """
        ...

    def pids(self) -> list[int]:
        """Return the store's own processes, for the record."""
        ...

    def start(self) -> None:
        """Start it, or start it again."""
        ...

    def kill(self) -> None:
        """End it without a word."""
        ...

    def stop(self) -> None:
        """End it politely."""
        ...


class Embedded:
    """The gateway's own files."""

    name = "embedded"

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def config(self) -> str:
        return '[series]\nkind = "sqlite"\n'

    def rows(self, measurement: str, field: str) -> int:
        files = sorted(self._data_dir.glob("telemetry-*.db"))
        return sum(series_files.count(file, field) for file in files)

    def pids(self) -> list[int]:
        return []

    def start(self) -> None:
        """It lives in the gateway."""

    def kill(self) -> None:
        """It dies with the gateway."""

    def stop(self) -> None:
        """It ends with the gateway."""


class _Server:
    """A database as a child of ours."""

    def __init__(self, folder: Path, command: list[str], url: str, health: str) -> None:
        self._command, self._health = command, url + health
        self._log = folder / "store.log"
        self.url = url
        self._process: subprocess.Popen[bytes] | None = None

    def config(self) -> str:
        return f'[series]\nkind = "influx1"\nurl = "{self.url}"\ndatabase = "{DATABASE}"\n'

    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline_s = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise Unreachable(f"{self._command[0]} does not start: {tail(self._log)}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return httpx.get(self._health, timeout=1).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process:
            path_process.end(self._process)


class Influx(_Server):
    """InfluxDB 1.x as Debian has it."""

    name = "InfluxDB"

    def __init__(self, folder: Path) -> None:
        port, inner = free_port(), free_port()
        config = folder / "influx.conf"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{inner}"\n'
            f'[meta]\ndir = "{folder}/meta"\n'
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nindex-version = "tsi1"\n'
            f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
            "[monitor]\nstore-enabled = false\n"
        )
        command = [program("influxd"), "-config", str(config)]
        super().__init__(folder, command, f"http://127.0.0.1:{port}", "/ping")

    def rows(self, measurement: str, field: str) -> int:
        query = f'SELECT count("{field}") FROM "{measurement}"'  # noqa: S608 - names of our own
        found = httpx.get(
            f"{self.url}/query", params={"db": DATABASE, "q": query}, timeout=QUERY_S
        ).json()["results"][0]
        return int(found["series"][0]["values"][0][1]) if "series" in found else 0


class Victoria(_Server):
    """VictoriaMetrics, which takes InfluxDB's line protocol."""

    name = "VictoriaMetrics"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        command = [
            program("victoria-metrics"), f"-httpListenAddr=127.0.0.1:{port}",
            f"-storageDataPath={folder}/data", "-retentionPeriod=1200",
            "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=10000000",
            "-search.maxQueryDuration=300s",
        ]  # fmt: skip
        super().__init__(folder, command, f"http://127.0.0.1:{port}", "/health")

    def rows(self, measurement: str, field: str) -> int:
        httpx.get(f"{self.url}/internal/force_flush", timeout=QUERY_S)
        query = f'sum(count_over_time({{__name__="{measurement}_{field}"}}[1d]))'
        now_s = time.time()  # noqa: TID251 - the database's clock is the wall's
        params: dict[str, str | float] = {"query": query, "time": now_s + 5, "nocache": "1"}
        found = httpx.get(f"{self.url}/api/v1/query", params=params, timeout=QUERY_S).json()
        series = found["data"]["result"]
        return int(series[0]["value"][1]) if series else 0


def program(name: str) -> str:
    """Return where a database's program is.

    Raises:
        Refused: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not found:
        raise Refused(f"{name} is not installed")
    return found
