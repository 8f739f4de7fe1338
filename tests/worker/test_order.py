"""Which readings show the present: the compiled rule against the rule in plain words."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.worker.order import BEHIND, LATE, LIVE, MINUTE_NS, sort_out

DEVICES = 3
LEAP_NS = 5 * MINUTE_NS
LATE_BEFORE_NS = 40 * MINUTE_NS

readings = st.lists(
    st.tuples(
        st.integers(0, DEVICES - 1),
        st.integers(1, 100 * MINUTE_NS).map(lambda t: t // 10**9 * 10**9),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(readings, st.lists(st.integers(0, 60 * MINUTE_NS), min_size=DEVICES, max_size=DEVICES))
def test_the_present_is_new_punctual_and_not_held_back(
    rows: list[tuple[int, int, bool]], newest: list[int]
) -> None:
    device = np.array([d for d, _, _ in rows], np.int64)
    times_ns = np.array([t for _, t, _ in rows], np.int64)
    historical = np.array([h for _, _, h in rows], np.bool_)
    seen = np.array(newest, np.int64)
    leap_ns = np.full(DEVICES, LEAP_NS)
    found = sort_out(device, times_ns, historical, seen, leap_ns, LATE_BEFORE_NS)
    now, minutes, leaps = list(newest), dict[int, list[int]](), []
    for i, (d, t, held) in enumerate(rows):
        if t <= now[d]:
            assert found.place[i] == BEHIND
            continue
        live = not held and t >= LATE_BEFORE_NS
        assert found.place[i] == (LIVE if live else LATE)
        if now[d] and t - now[d] > LEAP_NS:
            leaps.append(i)
        now[d] = t
        known = minutes.setdefault(d, [])
        if not known or known[-1] != t // MINUTE_NS:
            known.append(t // MINUTE_NS)
        assert found.turn[i] == len(known) - 1
    assert seen.tolist() == now
    assert found.leaps.tolist() == leaps
