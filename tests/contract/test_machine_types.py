"""Machine types: which names a signal may have."""

import pytest

from contract import machines
from contract.errors import Malformed

TYPE = """
name = "rig"
title = "Rig"
poll_interval_s = 1.0
[[signals]]
name = "{name}"
title = "Something"
unit = ""
range = [0, 1]
"""


def test_an_ordinary_name_is_taken() -> None:
    assert machines.parse(TYPE.format(name="flow"), "here").signal("flow")


@pytest.mark.parametrize("name", ["quality", "score", "alarm", "time", "device", "site"])
def test_names_that_the_time_series_store_needs_are_refused(name: str) -> None:
    with pytest.raises(Malformed, match=f"here: signal {name}: the name is reserved"):
        machines.parse(TYPE.format(name=name), "here")
