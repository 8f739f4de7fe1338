"""The config's word decides which series store is opened."""

from pathlib import Path

import pytest

from cloud.adapters.clock import PlantClock
from cloud.adapters.series_influx import InfluxSeries
from cloud.adapters.series_stores import open_reader, open_series
from cloud.config import SeriesStore
from contract.errors import Malformed, Unreachable
from tests import peers
from tests.frames import frame


def test_what_is_written_to_the_embedded_store_is_read_elsewhere(tmp_path: Path) -> None:
    clock, path = PlantClock(), tmp_path / "telemetry.db"
    reader = open_reader(SeriesStore(), lambda _: [path], clock)
    assert reader.last("pump", "d") == {}
    series = open_series(SeriesStore(), path, clock)
    assert series.write([frame("d", clock.now_ns(), {"flow": 1.0})]) == []
    assert reader.last("pump", "d") == {"flow": 1.0}
    series.close()
    reader.close()


@pytest.mark.parametrize("kind", ["influx1", "influx2"])
def test_a_server_that_is_away_does_not_hinder_the_start(kind: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    url = f"http://127.0.0.1:{peers.free_port()}"
    config = SeriesStore.model_validate({"kind": kind, "url": url, "token_file": token})
    for store in (
        open_series(config, tmp_path, PlantClock()),
        open_reader(config, lambda _: [tmp_path], PlantClock()),
    ):
        assert isinstance(store, InfluxSeries)
        with pytest.raises(Unreachable):
            store.last("pump", "d")
        store.close()
    token.unlink()
    with pytest.raises(Malformed, match="token_file"):
        open_series(config, tmp_path, PlantClock())
