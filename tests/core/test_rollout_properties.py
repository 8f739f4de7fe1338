"""What holds in every rollout, whatever machines, people and clocks do, in any order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cloud.core import rollout as core
from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ACTIVE,
    ENDED,
    ENDS,
    ROLLOUTS_MAX,
    Approved,
    Canceled,
    Compared,
    Effect,
    Event,
    Facts,
    Fetched,
    Gate,
    Install,
    Limits,
    Paused,
    Phase,
    Policy,
    Ramp,
    Report,
    Reported,
    Resumed,
    Revert,
    Rollout,
    Stage,
    StopAsked,
    Ticked,
    Update,
    UpdatePhase,
    Window,
)
from cloud.core.windows import is_open
from contract.errors import Refused
from tests.core.rollout_scenes import NEW, OLD, T0, S, candidates, claims, order

P = UpdatePhase
COUNT = 6
DEVICES = st.sampled_from([f"m{i}" for i in range(COUNT)] + ["nobody"])
POLICIES = st.builds(
    Policy,
    stages=st.sampled_from([
        [Stage(count=2, soak_s=600), Stage(percent=100, soak_s=600)],
        [Stage(percent=100, soak_s=0)],
        [Stage(count=1, soak_s=60), Stage(count=3, soak_s=3600)],
    ]),
    ramp=st.builds(Ramp, base_per_minute=st.sampled_from([0.3, 2.0, 50.0])),
    window=st.sampled_from([None, Window(start="18:00", hours=9, timezone="America/New_York")]),
    limits=st.builds(
        Limits, offer_s=st.just(3600.0), install_s=st.just(900.0), readback_s=st.just(300.0),
        retry_s=st.sampled_from([0.0, 400.0]), attempts_max=st.integers(1, 3),
        failed_percent=st.sampled_from([20.0, 100.0]), failed_min=st.sampled_from([2, 100]),
    ),
    gate=st.builds(Gate, settle_s=st.sampled_from([0.0, 120.0])),
    revert=st.booleans(),
)  # fmt: skip
PEOPLE = st.sampled_from(["Ada", "Grace"])


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, Any]:
    """Return how much time passes, and what happens then; actions are relative to the open one."""
    kind = draw(st.sampled_from(["tick"] * 6 + ["report"] * 6 + ["fetch", "compare", "person"]))
    seconds = draw(st.sampled_from([0, 1, 10, 60, 301, 901, 3601, -50]))
    made: Any
    if kind == "tick":
        odd = st.sampled_from(["old", "new", "new", "stale", "none", "alarm", "silent", "busy",
                               "elsewhere", "quarantined", "missing"])  # fmt: skip
        made = draw(st.lists(odd, min_size=COUNT, max_size=COUNT))
    elif kind == "report":
        off = draw(st.sampled_from([0, 0, 0, 0, 1, -1, 100_000]))
        made = (draw(DEVICES), off, draw(st.sampled_from(Report)), draw(st.integers(-900, 900)))
    elif kind == "fetch":
        made = (draw(DEVICES), draw(st.sampled_from([0, 0, 1])))
    elif kind == "compare":
        made = Compared(draw(DEVICES), draw(st.integers(0, 3)), [draw(st.floats(1e-9, 1.0))])
    else:
        by = draw(PEOPLE)
        made = draw(st.sampled_from([
            Approved(by), Paused(by), Resumed(by), Resumed(by), Canceled(by), StopAsked(by),
        ]))  # fmt: skip
    return seconds, (kind, made)


def facts(odd: str, now_ns: int) -> Facts:
    fresh = Facts(version=OLD, version_ns=now_ns - S)
    newer = structs.replace(fresh, version=NEW)
    return {
        "old": fresh,
        "new": newer,
        "stale": structs.replace(newer, version_ns=T0),
        "none": Facts(),
        "alarm": structs.replace(newer, alarm=True),
        "silent": structs.replace(newer, silent=True),
        "busy": structs.replace(fresh, busy="case 7 is open"),
        "elsewhere": structs.replace(fresh, elsewhere=True),
        "quarantined": structs.replace(fresh, quarantined="broke"),
    }[odd]


class Run:
    """A rollout that is moved, and looked at after every move."""

    def __init__(self, policy: Policy, *, high_risk: bool, number: int) -> None:
        self.now_ns = T0
        self.rollout: Rollout
        self.updates: dict[str, Update]
        self.rollout, self.updates, _ = core.create(
            number, order(policy), "Ada", claims(high_risk=high_risk), candidates(COUNT), T0
        )
        self.effects: list[Effect] = []

    def happen(self, moment: tuple[int, Any]) -> None:
        seconds, (kind, made) = moment
        self.now_ns += seconds * S
        self.feed(self.event(kind, made))

    def event(self, kind: str, made: Any) -> Event:
        if kind == "tick":
            known = {
                f"m{i}": facts(odd, self.now_ns) for i, odd in enumerate(made) if odd != "missing"
            }
            return Ticked(known)
        if kind in ("report", "fetch"):
            device, off = made[0], made[1]
            action = (self.updates[device].action if device in self.updates else 1) + off
            if kind == "fetch":
                return Fetched(device, action)
            return Reported(device, action, made[2], self.now_ns + made[3] * S, "words")
        event: Event = made
        return event

    def feed(self, event: Event) -> None:
        before, old = self.rollout, self.updates
        try:
            moved, changed, effects = core.step(before, old, event, self.now_ns)
        except Refused:
            assert isinstance(event, Approved)
            assert event.by == before.author
            return
        # A restart at any time changes nothing.
        stored = core.decode_rollout(core.encode_rollout(before))
        stored_updates = {d: core.decode_update(core.encode_update(u)) for d, u in old.items()}
        assert core.step(stored, stored_updates, event, self.now_ns) == (moved, changed, effects)
        assert all(changed[d] != old[d] for d in changed), "only what changed is returned"
        self.rollout, self.updates = moved, {**old, **changed}
        self.check(before, old, event, effects)
        self.effects += effects

    def check(
        self, before: Rollout, old: dict[str, Update], event: Event, effects: tuple[Effect, ...]
    ) -> None:
        given = [e.action for e in effects if isinstance(e, Install | Revert)]
        first = before.number * ACTIONS_PER_ROLLOUT + 1 + before.actions
        assert given == list(range(first, first + len(given)))
        assert all(action < 2**31 for action in given)
        assert self.rollout.actions == before.actions + len(given)
        policy = before.order.policy
        for effect in effects:
            if isinstance(effect, Install):
                assert before.phase is Phase.RUNNING
                assert is_open(policy.window, self.now_ns)
                assert old[effect.device].stage <= before.stage
                assert old[effect.device].phase is P.WAITING
        for device, update in self.updates.items():
            was = old[device]
            if was.phase in ENDS and update.phase is not was.phase:
                assert isinstance(event, Ticked), "a word never changes an end"
                back = was.phase is P.UPDATED and before.phase in (Phase.RUNNING, Phase.PAUSED,
                                                                   Phase.STOPPING)  # fmt: skip
                assert update.phase is P.UNCLEAR or (back and update.phase is P.REVERTING)
            if update.phase in ACTIVE:
                assert update.action, "what is open has a number"
            if was.action != update.action:
                verdict_due = (P.OFFERED, P.INSTALLING, P.CANCELLING, P.REVERTING)
                assert was.phase not in verdict_due, "a verdict is outstanding"
        if self.rollout.phase in ENDED:
            assert not any(u.phase in ACTIVE or u.phase is P.WAITING for u in self.updates.values())
        if before.phase in ENDED:
            assert self.rollout == before
            assert self.updates == old


@settings(max_examples=100, deadline=None)
@given(
    POLICIES,
    st.booleans(),
    st.sampled_from([1, 77, ROLLOUTS_MAX]),
    st.lists(moments(), min_size=10, max_size=80),
)
def test_whatever_happens(
    policy: Policy, high_risk: bool, number: int, story: list[tuple[int, Any]]
) -> None:
    run = Run(policy, high_risk=high_risk, number=number)
    for moment in story:
        run.happen(moment)
    # From anywhere, time alone brings every update to an end once people let it go on.
    for _ in range(1200):
        if run.rollout.phase in ENDED:
            break
        if run.rollout.phase is Phase.PAUSED:
            run.feed(Resumed("Grace"))
        if run.rollout.phase is Phase.AWAITING_APPROVAL:
            run.feed(Approved("Grace"))
        run.now_ns += 600 * S
        run.feed(Ticked({}))
    assert run.rollout.phase in ENDED, "it does not end"
    assert all(u.phase in ENDS for u in run.updates.values())


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_words_again_out_of_order_or_of_others_change_no_end(data: st.DataObject) -> None:
    policy = Policy(stages=[Stage(percent=100, soak_s=600)], limits=Limits(attempts_max=1))
    words = data.draw(st.lists(st.sampled_from([Report.TAKEN, Report.SUCCESS]), min_size=1))
    noise = data.draw(st.lists(moments(), max_size=10))

    def told(*, noisy: bool) -> dict[str, P]:
        run = Run(policy, high_risk=False, number=5)
        run.happen((1, ("tick", ["old"] * COUNT)))
        for word in [*words, Report.SUCCESS]:
            for device in list(run.updates):
                run.happen((0, ("report", (device, 0, word, 0))))
            if noisy:
                for device in list(run.updates):
                    run.happen((0, ("report", (device, 0, word, -30))))
                for seconds, (kind, made) in noise:
                    if kind == "report" and made[1]:
                        run.happen((seconds * 0, (kind, made)))
        for _ in range(90):
            run.happen((60, ("tick", ["new"] * COUNT)))
        return {d: u.phase for d, u in run.updates.items()}

    quiet, loud = told(noisy=False), told(noisy=True)
    assert quiet == loud == dict.fromkeys(quiet, P.UPDATED)
