"""Records of machines: tokens are shown once and kept as hashes; what machines say is bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from cloud.adapters.clock import PlantClock
from cloud.adapters.store import Store
from cloud.core.asset import AssetRow
from cloud.service.devices import Devices
from cloud.service.parts import Parts
from contract import machines
from contract.errors import Refused


class _Parts:
    """The three parts that records of machines need."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.machines = store, PlantClock(), machines.library()
        self.assets = {
            "edge-1": AssetRow(device="edge-1", site="n", machine_type="edge_computer"),
            "edge-2": AssetRow(device="edge-2", site="n", machine_type="edge_computer"),
            "pump-1": AssetRow(
                device="pump-1", site="n", machine_type="centrifugal_pump", hardware=3
            ),
        }


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    store = Store(f"sqlite:///{tmp_path / 'cases.db'}")
    yield cast("Parts", _Parts(store))
    store.close()


def test_a_token_admits_its_machine_only_and_until_the_next(parts: Parts) -> None:
    devices = Devices(parts)
    first = devices.issue_token("edge-1", "anna")
    assert devices.admitted("edge-1", first)
    assert not devices.admitted("edge-2", first)
    assert not devices.admitted("nobody", first)
    assert not devices.admitted("edge-2", "")
    second = devices.issue_token("edge-1", "anna")
    assert not devices.admitted("edge-1", first)
    again = Devices(parts)
    assert again.admitted("edge-1", second)
    again.revoke_token("edge-1", "anna")
    assert not again.admitted("edge-1", second)
    said = [line.what for line in parts.store.updates.audit()]
    assert said == ["token revoked", "token issued", "token issued"]
    assert first not in str(parts.store.updates.devices())


def test_only_machines_that_speak_ddi_get_tokens(parts: Parts) -> None:
    devices = Devices(parts)
    with pytest.raises(Refused, match="do not speak DDI"):
        devices.issue_token("pump-1", "anna")
    with pytest.raises(Refused, match="list of assets"):
        devices.issue_token("nobody", "anna")


def test_hardware_is_what_the_machine_shows_else_what_the_settings_say(parts: Parts) -> None:
    devices = Devices(parts)
    assert devices.hardware("pump-1") == 3
    devices.saw_hardware("pump-1", 2)
    devices.saw_hardware("nobody", 2)
    assert Devices(parts).hardware("pump-1") == 2
    devices.set_attributes("edge-1", {"hw_revision": "7"}, "merge")
    assert devices.hardware("edge-1") == 7
    devices.set_attributes("edge-1", {"hw_revision": "99999999999999999999"}, "merge")
    assert devices.hardware("edge-1") == 7


def test_attributes_are_merged_replaced_removed_and_bounded(parts: Parts) -> None:
    devices = Devices(parts)
    devices.set_attributes("edge-1", {"a": "1", "b": "2"}, "merge")
    devices.set_attributes("edge-1", {"b": "3"}, "merge")
    assert devices.row("edge-1").attributes == {"a": "1", "b": "3"}
    devices.set_attributes("edge-1", {"a": ""}, "remove")
    assert devices.row("edge-1").attributes == {"b": "3"}
    devices.set_attributes("edge-1", {"c": "4"}, "replace")
    assert Devices(parts).row("edge-1").attributes == {"c": "4"}
    with pytest.raises(Refused, match="at most 100"):
        devices.set_attributes("edge-1", {str(i): "" for i in range(101)}, "merge")
    with pytest.raises(Refused, match="longer"):
        devices.set_attributes("edge-1", {"a": "x" * 257}, "merge")
