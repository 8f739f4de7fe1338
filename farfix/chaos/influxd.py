"""``python -m farfix.chaos.influxd CONFIG``: become an InfluxDB 1.x, as a child of the drill."""

import os
import shutil
import sys
from pathlib import Path


def program() -> str | None:
    """Return the path of the installed influxd 1.x, if there is one."""
    return shutil.which("influxd")


def write_config(folder: Path, port: int, inner_port: int) -> Path:
    """Write the config of a server that keeps everything in a folder; return its path.

    Args:
        folder: made if missing.
        port: HTTP, on the loopback.
        inner_port: backups, on the loopback; InfluxDB cannot do without.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "influx.conf"
    file.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{inner_port}"\n'
        f'[meta]\ndir = "{folder}/meta"\n'
        f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nindex-version = "tsi1"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        "[monitor]\nstore-enabled = false\n"
    )
    return file


if __name__ == "__main__":
    path = program()
    if path is None:
        sys.exit("influxd is not installed (Debian: apt install influxdb)")
    # the same process, so whoever kills or stops this one hits the database itself
    os.execv(path, [path, "-config", *sys.argv[1:]])  # noqa: S606
