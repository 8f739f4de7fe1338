"""Which series store a gateway uses."""

from pathlib import Path

from cloud.adapters import series_influx
from cloud.adapters.clock import PlantClock
from cloud.adapters.series import Series
from cloud.adapters.series_sqlite import SqliteSeries
from cloud.config import SeriesStore
from contract.errors import Malformed


def open_series(config: SeriesStore, data_dir: Path, clock: PlantClock) -> Series:
    """Open the store that the config names.

    Args:
        config: kind and address.
        data_dir: where the embedded store keeps its file, ``telemetry.db``.
        clock: by which the embedded store tells what has become too old.

    Raises:
        Malformed: the token cannot be read.
        Refused: the file of the embedded store is something else.
    """
    if config.kind == "sqlite":
        return SqliteSeries(data_dir / "telemetry.db", config.keep_days, clock.now_ns)
    token = _token(config.token_file)
    if config.kind == "influx1":
        return series_influx.v1(config.url, config.database, token)
    return series_influx.v2(config.url, config.database, config.org, token)


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Malformed(f"series.token_file {path} cannot be read: {error.strerror}") from error
