"""Which series store a gateway uses."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cloud.adapters import series_influx
from cloud.adapters.clock import PlantClock
from cloud.adapters.series import Readable, Series
from cloud.adapters.series_files import Files
from cloud.adapters.series_influx import InfluxSeries
from cloud.adapters.series_sqlite import SqliteSeries
from cloud.config import SeriesStore
from contract.errors import Malformed


def open_series(config: SeriesStore, file: Path, clock: PlantClock) -> Series:
    """Open the store that the config names, to write to it.

    Args:
        config: kind and address.
        file: where the embedded store keeps telemetry.
        clock: by which the embedded store tells what has become too old.

    Raises:
        Malformed: the token cannot be read.
        Refused: the file of the embedded store is something else.
    """
    if config.kind == "sqlite":
        return SqliteSeries(file, config.keep_days, clock.now_ns)
    return _influx(config)


def open_reader(
    config: SeriesStore, where: Callable[[str], Sequence[Path]], clock: PlantClock
) -> Readable:
    """Open the store that the config names, to read what others write.

    Args:
        config: kind and address.
        where: the embedded store's files that may hold rows of a device, the newest last.
        clock: by which the embedded store tells what has become too old.

    Raises:
        Malformed: the token cannot be read.
    """
    if config.kind == "sqlite":
        return Files(where, config.keep_days, clock.now_ns)
    return _influx(config)


def _influx(config: SeriesStore) -> InfluxSeries:
    token = _token(config.token_file)
    if config.kind == "influx1":
        return series_influx.v1(config.url, config.database, token, ca_file=config.ca_file)
    return series_influx.v2(config.url, config.database, config.org, token, config.ca_file)


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Malformed(f"series.token_file {path} cannot be read: {error.strerror}") from error
