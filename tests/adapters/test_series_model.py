"""The embedded series store against a dictionary, through everything that can happen to it."""

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloud.adapters import series_blocks, series_pieces
from cloud.adapters.series import TIME_MAX_NS, Frame
from cloud.adapters.series_blocks import Rows
from cloud.adapters.series_files import everything
from cloud.adapters.series_sqlite import COMPACT_NS, SqliteSeries

START_NS = 1_795_000_000 * 10**9
DEVICES = ("pump-1", "pump-2", "fan-1")
FIELDS = ("flow", "power", "score")
VALUES = st.one_of(
    st.floats(allow_infinity=False),
    st.integers(-70_000, 70_000).map(float),
    st.integers(-(10**10), 10**10).map(lambda n: n / 1000),
    st.floats(width=32, allow_infinity=False),
    st.sampled_from([0.0, -0.0, math.nan, 127.0, -128.0, 32768.0, -(2.0**31), 2.0**31]),
)
TIMES = st.one_of(
    st.integers(0, 3).map(lambda i: START_NS + i),
    st.integers(0, 40).map(lambda i: START_NS + i),
    st.integers(0, TIME_MAX_NS),
)


@st.composite
def a_frame(draw: st.DrawFn) -> Frame:
    fields = tuple(draw(st.permutations(FIELDS))[: draw(st.integers(1, 3))])
    devices = draw(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=8))
    n, k = len(devices), len(fields)
    times = draw(st.lists(TIMES, min_size=n, max_size=n))
    values = draw(st.lists(VALUES, min_size=n * k, max_size=n * k))
    return Frame(
        draw(st.sampled_from(["pump", "fan"])),
        fields,
        devices,
        ["north"] * n,
        np.array(times, np.int64),
        np.array(values).reshape(n, k),
    )


class Store(RuleBasedStateMachine):
    """``kept[measurement, device, time][field]`` is what the file must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now_ns = START_NS
        self.kept: dict[tuple[str, str, int], dict[str, float]] = {}
        self.fanout, series_pieces.FANOUT = series_pieces.FANOUT, 2
        self.open()

    def open(self) -> None:
        self.series = SqliteSeries(self.folder / "t.db", 10**6, lambda: self.now_ns)

    def teardown(self) -> None:
        self.series.close()
        series_pieces.FANOUT = self.fanout
        shutil.rmtree(self.folder)

    @rule(frames=st.lists(a_frame(), max_size=3))
    def write(self, frames: list[Frame]) -> None:
        rejected = self.series.write(frames)
        assert len(rejected) == sum(int(np.isnan(f.values).all(axis=1).sum()) for f in frames)
        for frame in frames:
            for i, device in enumerate(frame.devices):
                values = dict(zip(frame.fields, frame.values[i].tolist(), strict=True))
                known = {name: v for name, v in values.items() if not math.isnan(v)}
                if known:
                    at = (frame.measurement, device, int(frame.times_ns[i]))
                    self.kept.setdefault(at, {}).update(known)

    @rule(frames=st.lists(a_frame(), max_size=3))
    def write_and_compact(self, frames: list[Frame]) -> None:
        self.write(frames)
        self.compact()

    @rule()
    def compact(self) -> None:
        self.now_ns += COMPACT_NS
        assert self.series.write([]) == []

    @rule()
    def restart(self) -> None:
        self.series.close()
        self.open()

    @rule(
        measurement=st.sampled_from(["pump", "fan", "none"]),
        device=st.sampled_from([*DEVICES, "nobody"]),
        fields=st.lists(st.sampled_from([*FIELDS, "other"]), min_size=1, max_size=4, unique=True),
        ends=st.tuples(TIMES, TIMES).map(sorted),
    )
    def read(self, measurement: str, device: str, fields: list[str], ends: list[int]) -> None:
        found = self.series.read(measurement, device, fields, ends[0], ends[1], 10**6)
        wanted = {
            at_ns: [values.get(name) for name in fields]
            for (m, d, at_ns), values in self.kept.items()
            if (m, d) == (measurement, device) and ends[0] <= at_ns < ends[1]
        }
        wanted = {at: row for at, row in sorted(wanted.items()) if any(v is not None for v in row)}
        assert found.times_ns == list(wanted)
        rows = [list(row) for row in zip(*found.columns.values(), strict=True)]
        assert list(map(repr, rows)) == list(map(repr, wanted.values())), "to the sign of zero"

    @invariant()
    def newest_rows_are_the_last(self) -> None:
        for measurement in ("pump", "fan"):
            for device in DEVICES:
                times = [t for m, d, t in self.kept if (m, d) == (measurement, device)]
                wanted = self.kept[measurement, device, max(times)] if times else {}
                assert self.series.last(measurement, device) == wanted

    @invariant()
    def everything_is_there_once(self) -> None:
        found = {
            (r.measurement, r.device, at_ns): {
                f: v for f, v in zip(r.fields, row, strict=True) if not math.isnan(v)
            }
            for r in everything(self.folder / "t.db")
            for at_ns, row in zip(r.times_ns.tolist(), r.values.tolist(), strict=True)
        }
        assert found == self.kept


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=20)


COLUMNS = st.one_of(
    st.lists(VALUES, min_size=1, max_size=70),
    st.tuples(st.integers(0, 8), st.lists(st.integers(-(2**33), 2**33), min_size=1)).map(
        lambda drawn: [n / 10.0 ** drawn[0] for n in drawn[1]]
    ),
    st.lists(st.integers(-130, 130).map(float) | st.just(math.nan), min_size=1),
)


@given(COLUMNS, st.integers(0, 2**40), st.sampled_from([1, 10**3, 10**6, 10**9, 7 * 10**9]))
def test_packed_rows_come_back_to_the_last_bit(
    column: list[float], from_ns: int, step_ns: int
) -> None:
    values = np.array(column)
    times_ns = from_ns + np.arange(len(column)) * step_ns
    coding, packed = series_blocks.pack(times_ns, from_ns, ("a", "b"), np.c_[values, values[::-1]])
    again = series_blocks.decode(series_blocks.encode(coding))
    found = series_blocks.unpack(again, packed, ["b", "none", "a"])
    assert (found.times_ns == times_ns - from_ns).all()
    assert np.isnan(found.values[:, 1]).all()
    for place, wanted in ((2, values), (0, values[::-1])):
        assert list(map(repr, found.values[:, place].tolist())) == list(map(repr, wanted.tolist()))


@given(
    arrays.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 5)),
    st.lists(st.sampled_from([1.0, 2.0, 3.0, math.nan]), min_size=40, max_size=40),
)
def test_of_several_rows_of_one_time_the_last_values_count(
    times_ns: np.ndarray, numbers: list[float]
) -> None:
    values = np.array(numbers).reshape(20, 2)[: len(times_ns)]
    wanted: dict[int, list[float]] = {}
    for at_ns, row in zip(times_ns.tolist(), values.tolist(), strict=True):
        kept = wanted.setdefault(at_ns, [math.nan, math.nan])
        kept[:] = [old if math.isnan(new) else new for old, new in zip(kept, row, strict=True)]
    found = series_blocks.settle(Rows(times_ns, values))
    assert found.times_ns.tolist() == sorted(wanted)
    assert repr(found.values.tolist()) == repr([wanted[at] for at in sorted(wanted)])
