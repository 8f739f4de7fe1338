"""Who a release is for, and who comes in which stage."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cloud.core import stages
from cloud.core.rollout_states import Candidate, Policy, Selection, Stage
from tests.core.rollout_scenes import candidates, claims

ONE = Candidate(device="m", site="s", labels=["a", "b"], hardware=2, version="1.0.0")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quarantined": "broke twice"}, "in quarantine: broke twice"),
        ({"hardware": 0}, "its hardware revision is not known"),
        ({"hardware": 7}, "not for hardware revision 7"),
        ({"version": ""}, "its version is not known"),
        ({"version": "nonsense"}, "version 'nonsense' is not one that releases have"),
        ({"version": "1.0.0\n"}, "version '1.0.0\\n' is not one that releases have"),
        ({"version": "1.1.0"}, "runs it already"),
        ({"version": "1.2.0"}, "runs a newer version, 1.2.0"),
        ({"version": "0.8.9"}, "runs 0.8.9, older than 0.9.0, which must come first"),
    ],
)
def test_a_machine_that_does_not_fit_is_left_out_with_the_reason(
    fields: dict[str, object], reason: str
) -> None:
    release = claims(hardware=[1, 2], min_version="0.9.0")
    found = stages.eligible(release, Selection(), [structs.replace(ONE, **fields)])
    assert found == ([], {"m": reason})


def test_a_release_for_all_hardware_does_not_ask_for_it() -> None:
    unknown = structs.replace(ONE, hardware=0)
    assert stages.eligible(claims(), Selection(), [unknown]) == ([unknown], {})


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(), True),
        (
            Selection(sites=["s"], devices=["m"], labels=["a"], hardware=[2], versions=["1.0.0"]),
            True,
        ),
        (Selection(labels=["b", "a"]), True),
        (Selection(sites=["t"]), False),
        (Selection(devices=["n"]), False),
        (Selection(labels=["a", "c"]), False),
        (Selection(hardware=[1]), False),
        (Selection(versions=["1.0.1"]), False),
    ],
)
def test_what_is_not_selected_is_neither_in_nor_left_out(selection: Selection, fits: bool) -> None:
    assert stages.eligible(claims(), selection, [ONE]) == ([ONE] if fits else [], {})


STAGES = st.lists(
    st.one_of(
        st.builds(Stage, count=st.integers(1, 50)),
        st.builds(Stage, percent=st.floats(0.1, 100)),
    ),
    min_size=1,
    max_size=6,
)


@given(STAGES, st.integers(0, 120), st.integers(1, 20_000))
def test_stages_add_machines_once_and_never_none_while_any_are_left(
    asked: list[Stage], count: int, seed: int
) -> None:
    machines = candidates(count)
    added = stages.plan(Policy(stages=asked), machines, seed)
    flat = [device for devices in added for device in devices]
    assert len(added) == len(asked)
    assert len(flat) == len(set(flat)) <= count
    assert set(flat) <= {m.device for m in machines}
    done = 0
    for devices, stage in zip(added, asked, strict=True):
        assert devices or done == count
        goal = stage.count if stage.count is not None else (stage.percent or 0) * count / 100
        assert len(devices) <= 1 or done + len(devices) < goal + 1
        done += len(devices)


def test_the_default_policy_grows_as_it_says() -> None:
    asked = [
        Stage(count=5),
        Stage(percent=2),
        Stage(percent=10),
        Stage(percent=40),
        Stage(percent=100),
    ]
    added = stages.plan(Policy(stages=asked), candidates(1000), 1)
    assert [len(devices) for devices in added] == [5, 15, 80, 300, 600]
    assert [len(d) for d in stages.plan(Policy(stages=asked), candidates(3), 1)] == [3, 0, 0, 0, 0]


@given(st.integers(1, 20_000), st.permutations(list(range(60))))
def test_the_draw_does_not_depend_on_the_order_of_the_machines(seed: int, order: list[int]) -> None:
    machines = candidates(60)
    assert stages.drawn(machines, seed) == stages.drawn([machines[i] for i in order], seed)


@given(st.integers(1, 20_000))
def test_a_small_first_stage_covers_the_hardware_and_every_beginning_is_a_fair_share(
    seed: int,
) -> None:
    machines = [
        Candidate(device=f"m{i}", site=f"s{i % 5}", labels=[], hardware=h, version="1.0.0")
        for i, h in enumerate([1] * 300 + [2] * 90 + [3] * 9 + [4])
    ]
    of = {m.device: m for m in machines}
    order = stages.drawn(machines, seed)
    assert [of[d].hardware for d in order[:4]] == [1, 2, 3, 4]
    for length in (40, 100, 200, 300):
        counts = Counter(of[d].hardware for d in order[:length])
        sites = Counter(of[d].site for d in order[:length] if of[d].hardware == 1)
        assert abs(counts[1] - 0.75 * length) <= 3
        assert max(sites.values()) - min(sites.values()) <= 2


def test_every_machine_has_the_same_chance_to_come_first() -> None:
    machines = [
        Candidate(device=f"m{i}", site="big" if i < 30 else f"s{i}", labels=[], hardware=1,
                  version="1.0.0")
        for i in range(40)
    ]  # fmt: skip
    draws = 4000
    first = Counter(d for seed in range(1, draws + 1) for d in stages.drawn(machines, seed)[:4])
    expected = draws * 4 / 40  # 400, and a standard deviation below 20
    assert all(abs(first[m.device] - expected) < 100 for m in machines)


def test_another_rollout_draws_other_machines() -> None:
    firsts = {tuple(stages.drawn(candidates(50), seed)[:5]) for seed in range(1, 50)}
    assert len(firsts) > 40
