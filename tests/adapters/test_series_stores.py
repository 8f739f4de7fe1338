"""The config's word decides which series store is opened."""

from pathlib import Path

import pytest

from cloud.adapters.clock import PlantClock
from cloud.adapters.series import Row
from cloud.adapters.series_influx import InfluxSeries
from cloud.adapters.series_stores import open_series
from cloud.config import SeriesStore
from contract.errors import Malformed, Unreachable
from tests import peers


def test_the_embedded_store_keeps_its_file_among_the_data(tmp_path: Path) -> None:
    clock = PlantClock()
    series = open_series(SeriesStore(), tmp_path, clock)
    assert series.write([Row("pump", {"device": "d"}, {"flow": 1.0}, clock.now_ns())]) == []
    series.close()
    assert (tmp_path / "telemetry.db").exists()


@pytest.mark.parametrize("kind", ["influx1", "influx2"])
def test_a_server_that_is_away_does_not_hinder_the_start(kind: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    url = f"http://127.0.0.1:{peers.free_port()}"
    config = SeriesStore.model_validate({"kind": kind, "url": url, "token_file": token})
    series = open_series(config, tmp_path, PlantClock())
    assert isinstance(series, InfluxSeries)
    with pytest.raises(Unreachable):
        series.last("pump", "d")
    series.close()
    token.unlink()
    with pytest.raises(Malformed, match="token_file"):
        open_series(config, tmp_path, PlantClock())
