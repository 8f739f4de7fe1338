"""The plan of a drill: fair, spread out, and the same for the same seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farfix.chaos import plan
from farfix.chaos.plan import Act, Network, Plan, Program

PARTS = {
    Program.EDGE: ["edge-north", "edge-south"],
    Program.BROKER: ["broker"],
    Program.CLOUD: ["main", "worker", "group"],
    Program.STORE: ["store"],
}
LINKS = ["edge-broker", "cloud-broker", "cloud-store"]
some_parts = st.sets(st.sampled_from(list(Program))).map(lambda s: {p: PARTS[p] for p in s})
some_links = st.sets(st.sampled_from(LINKS)).map(sorted)
some_networks = st.sets(st.sampled_from(list(Network))).map(sorted)


@given(st.integers(1000, 200_000), some_parts, some_links, some_networks, st.integers(0, 1000))
def test_a_plan_is_fair(
    samples: int,
    parts: dict[Program, list[str]],
    links: list[str],
    networks: list[Network],
    seed: int,
) -> None:
    made = plan.make(samples, parts, links, networks, seed)
    assert made == plan.make(samples, parts, links, networks, seed)
    for faults in (made.strikes, made.troubles):
        times = [fault.at_sample for fault in faults]
        assert times == sorted(times)
        assert all(0 <= at < samples for at in times)
    killed = Counter(s.program for s in made.strikes if s.act is Act.KILL)
    assert set(killed) == set(parts)
    assert {t.network for t in made.troubles} == (set(networks) if links else set())
    assert {t.link for t in made.troubles} <= set(links)
    assert all(s.part in PARTS[s.program] for s in made.strikes)
    if killed:
        assert max(killed.values()) - min(killed.values()) <= 1
        assert {s.act for s in made.strikes} == set(Act)
        assert sum(killed.values()) >= 30 * samples / 100_000


@given(st.integers(0, 1000))
def test_the_drill_of_the_targets(seed: int) -> None:
    made = plan.make(100_000, PARTS, LINKS, list(Network), seed)
    kills = [s for s in made.strikes if s.act is Act.KILL]
    assert len(kills) >= 30
    # every process of every program dies, and no quarter of the run is without a kill
    assert {(s.program, s.part) for s in kills} | {(s.program, s.part) for s in made.strikes} == {
        (program, part) for program, parts in PARTS.items() for part in parts
    }
    assert {s.at_sample // 25_000 for s in kills} == {0, 1, 2, 3}
    assert {(t.network, t.link) for t in made.troubles} == {(n, k) for n in Network for k in LINKS}


@given(st.integers(0, 200))
def test_nothing_lasts_longer_or_shorter_than_said(seed: int) -> None:
    made = plan.make(100_000, PARTS, LINKS, list(Network), seed)
    bounds = {Act.KILL: plan.DOWN_S, Act.PAUSE: plan.PAUSE_S, Act.RESTART: (0.0, 0.0)}
    assert all(bounds[s.act][0] <= s.last_s <= bounds[s.act][1] for s in made.strikes)
    for trouble in made.troubles:
        toxics = trouble.toxics
        assert toxics.timeout is (trouble.network is Network.PARTITION)
        assert (toxics.latency_s > 0) is (trouble.network is Network.SLOW)
        assert (toxics.limit_bytes > 0) is (trouble.network is Network.LOSSY)
        assert bool(trouble.resets_s) is (trouble.network is Network.LOSSY)
        assert all(0 <= at_s < trouble.last_s for at_s in trouble.resets_s)
        if trouble.network is Network.PARTITION:
            assert plan.PARTITION_S[0] <= trouble.last_s <= plan.PARTITION_S[1]


def test_another_seed_is_another_plan() -> None:
    assert plan.make(20_000, PARTS, LINKS, list(Network), 1) != plan.make(
        20_000, PARTS, LINKS, list(Network), 2
    )


def test_the_kinds_are_what_must_fire() -> None:
    made = plan.make(1000, {Program.EDGE: ["a"]}, ["edge-broker"], [Network.SLOW], 1)
    assert made.kinds() == ["kill edge", "pause edge", "restart edge", "slow edge-broker"]
    assert Plan([], []).kinds() == []


@pytest.mark.parametrize("seed", range(3))
def test_a_short_drill_has_everything_once(seed: int) -> None:
    made = plan.make(6000, PARTS, LINKS, list(Network), seed)
    assert Counter(s.act for s in made.strikes) == {Act.KILL: 4, Act.PAUSE: 2, Act.RESTART: 1}
    assert {s.program for s in made.strikes if s.act is Act.KILL} == set(Program)
    assert len(made.troubles) == 3
