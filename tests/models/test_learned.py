"""Labels sharpen the diagnosis: right table, wrong table, fault that the table does not have."""

import copy
import math
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Malformed
from contract.faults import UNKNOWN, Deviation, Direction, Hypothesis
from contract.machines import CheckKind, MachineType, library
from contract.tickets import Finding
from firmware_sim.faults import CATALOGUE, LINK_FAULTS, Nature
from firmware_sim.physics import MACHINES
from models import diagnose, learned
from models.checks import CheckResult
from models.learned import Learned
from models.monitor import Monitor, State
from tests.models import plant
from tests.models.evaluate import Run

MACHINE = plant.machine()
RESPONSES = ["flow", "pressure", "power", "metal", "vibration"]
BLOCKED = {"flow": -20.0, "pressure": 12.0}
STRANGE = {"flow": 9.0, "pressure": 9.0, "power": -14.0}
Case = tuple[str, list[Deviation], list[CheckResult]]


def deviations(**sigmas: float) -> list[Deviation]:
    seen = {**dict.fromkeys(RESPONSES, 0.5), **sigmas}
    return [
        Deviation(n, Direction.ABOVE if s > 0 else Direction.BELOW, abs(s)) for n, s in seen.items()
    ]


def noisy(rng: np.random.Generator, sigmas: dict[str, float]) -> list[Deviation]:
    """Make the same picture another day: larger or smaller, with noise."""
    size = rng.uniform(0.6, 1.8)
    return deviations(**{n: sigmas.get(n, 0.0) * size + rng.normal() for n in RESPONSES})


def taught(finding: str, sigmas: dict[str, float], labels: int) -> Learned:
    rng = np.random.default_rng(1)
    state = learned.empty(MACHINE)
    for _ in range(labels):
        learned.learn(state, MACHINE, noisy(rng, sigmas), [], finding)
    return state


def first(state: Learned, **sigmas: float) -> Hypothesis:
    return learned.rank(state, MACHINE, deviations(**sigmas), [])[0]


def test_without_labels_the_table_decides() -> None:
    state = learned.empty(MACHINE)
    for sigmas in (BLOCKED, STRANGE, {"vibration": 9.0}):
        seen = deviations(**sigmas)
        assert learned.rank(state, MACHINE, seen, []) == diagnose.rank(MACHINE, seen, [])


def test_a_fault_that_the_table_lacks_is_named_after_one_case_and_others_stay() -> None:
    assert first(learned.empty(MACHINE), **STRANGE).fault == UNKNOWN
    state = taught("impeller_loose", STRANGE, 1)
    assert first(state, **STRANGE).fault == "impeller_loose"
    assert first(state, **STRANGE).evidence[0] == (
        "1 earlier case with deviations like these turned out to be impeller_loose."
    )
    assert first(state, **BLOCKED).fault == "blocked"
    assert first(state, power=15.0, metal=-9.0).fault == UNKNOWN


def test_a_single_label_does_not_outweigh_a_clear_match_but_several_do() -> None:
    assert first(taught("leak", BLOCKED, 1), **BLOCKED).fault == "blocked"
    many = first(taught("leak", BLOCKED, 6), **BLOCKED)
    assert many.fault == "leak"
    assert many.evidence[:2] == [
        "6 earlier cases with deviations like these turned out to be leak.",
        "Earlier cases did not look as the fault table says, so it counts less.",
    ]


def test_labels_that_agree_with_the_table_make_it_surer() -> None:
    faint = {"vibration": 5.0, "metal": 2.0, "power": 3.0}
    before = first(learned.empty(MACHINE), **faint)
    after = first(taught("wear", faint, 3), **faint)
    assert before.fault == after.fault == "wear"
    assert after.probability > before.probability


def test_other_raises_unknown_and_says_so() -> None:
    like_wear = {"vibration": 9.0, "metal": 7.0, "power": 12.0}
    before = learned.rank(learned.empty(MACHINE), MACHINE, deviations(**like_wear), [])
    after = first(taught(Finding.OTHER, like_wear, 4), **like_wear)
    assert after.fault == UNKNOWN
    assert after.probability > next(h.probability for h in before if h.fault == UNKNOWN)
    assert "turned out to be something that the fault table does not have" in after.evidence[0]


def test_no_fault_found_raises_the_suspicion_of_a_false_alarm_only_where_it_looks_alike() -> None:
    state = taught(Finding.NO_FAULT_FOUND, {"power": 7.0}, 4)
    suspicion = first(state, power=7.0)
    assert suspicion.fault == Finding.NO_FAULT_FOUND
    assert "no fault: this may be a false alarm" in suspicion.evidence[0]
    assert first(state, **BLOCKED).fault == "blocked"


def test_a_failing_check_is_part_of_the_picture() -> None:
    loose = CheckResult(CheckKind.LOOSE, "flow", "has jumped there and back")
    state = learned.empty(MACHINE)
    learned.learn(state, MACHINE, deviations(), [loose], "cable_worn")
    assert learned.rank(state, MACHINE, deviations(), [loose])[0].fault == "cable_worn"
    assert learned.rank(state, MACHINE, deviations(power=9.0), [])[0].fault != "cable_worn"


def test_memory_is_bounded_and_keeps_rare_findings() -> None:
    state = taught("rare", STRANGE, 1)
    seen = noisy(np.random.default_rng(2), BLOCKED)
    for i in range(1500):
        learned.learn(state, MACHINE, seen, [], f"fault_{i % 30}")
    assert len(state.findings) == len(state.pictures) == learned.CAPACITY
    assert max(map(state.findings.count, state.findings)) <= learned.PER_FINDING
    assert "rare" in state.findings


def test_a_saved_state_goes_on_exactly_and_strangers_are_refused() -> None:
    state = taught("leak", BLOCKED, 3)
    data = learned.save(state, MACHINE)
    again = learned.restore(MACHINE, data)
    seen = deviations(flow=-4.0, pressure=2.0)
    assert learned.rank(again, MACHINE, seen, []) == learned.rank(state, MACHINE, seen, [])
    assert learned.save(again, MACHINE) == data
    with pytest.raises(Malformed):
        learned.restore(library()["chiller"], data)
    with pytest.raises(Malformed):
        learned.restore(MACHINE, data[:-3])


DEVIATIONS = st.lists(
    st.builds(
        Deviation,
        signal=st.sampled_from([*RESPONSES, "stranger"]),
        direction=st.sampled_from(Direction),
        sigmas=st.floats(min_value=0) | st.just(math.nan),
    ),
    max_size=8,
)
CHECKS = st.lists(
    st.builds(
        CheckResult,
        kind=st.sampled_from(CheckKind),
        signal=st.sampled_from([*RESPONSES, "", "stranger"]),
        detail=st.just("d"),
    ),
    max_size=2,
)
FINDINGS = st.sampled_from(["wear", "leak", "flow_stuck", "new", *Finding, UNKNOWN, ""])


@given(st.lists(st.tuples(DEVIATIONS, CHECKS, FINDINGS), max_size=12), DEVIATIONS, CHECKS)
def test_whatever_is_learnt_the_answer_is_a_distribution_and_order_does_not_matter(
    labels: list[tuple[list[Deviation], list[CheckResult], str]],
    seen: list[Deviation],
    checks: list[CheckResult],
) -> None:
    one, other = learned.empty(MACHINE), learned.empty(MACHINE)
    for d, c, finding in labels:
        learned.learn(one, MACHINE, d, c, finding)
    for d, c, finding in reversed(labels):
        learned.learn(other, MACHINE, d, c, finding)
    ranked = learned.rank(one, MACHINE, seen, checks)
    assert sum(h.probability for h in ranked) == pytest.approx(1.0)
    assert [h.probability for h in ranked] == sorted((h.probability for h in ranked), reverse=True)
    assert {h.fault for h in ranked} >= {f.code for f in MACHINE.faults} | {UNKNOWN}
    again = {h.fault: h.probability for h in learned.rank(other, MACHINE, seen, checks)}
    assert again == pytest.approx({h.fault: h.probability for h in ranked}, abs=1e-9)


def test_labels_made_for_other_signals_are_ignored() -> None:
    state = taught("leak", BLOCKED, 2)
    chiller = library()["chiller"]
    learned.learn(state, chiller, [], [], "condenser_fouling")
    assert len(state.findings) == 2
    assert learned.rank(state, chiller, [], [])[0].fault == UNKNOWN


def simulated(machine: MachineType, seed: int) -> list[Case]:
    """Return what the monitor says two minutes into the alarm, for each fault of the simulator."""
    start, monitor, cases = Run(MACHINES[machine.name], machine, seed), Monitor(machine), []
    while True:
        reading = start.reading()
        if reading is not None and monitor.update(reading).progress >= 1.0:
            break
    saved = monitor.save()
    for code, model in CATALOGUE[machine.name].items():
        if model.nature is Nature.BAIT or code in LINK_FAULTS:
            continue
        run, watch = copy.deepcopy(start), Monitor.restore(machine, saved)
        run.sim.inject(code)
        alarms = []
        for _ in range(240):
            reading = run.reading()
            if reading is not None and (a := watch.update(reading)).state is State.ALARM:
                alarms.append(a)
            if len(alarms) == 24:
                break
        if alarms:
            cases.append((code, alarms[-1].deviations, alarms[-1].checks))
    return cases


@cache
def fleet() -> tuple[MachineType, list[Case], list[Case]]:
    machine = library()["centrifugal_pump"]
    taught_on = [case for seed in (11, 12) for case in simulated(machine, seed)]
    return machine, taught_on, [case for seed in (13, 14) for case in simulated(machine, seed)]


def share(machine: MachineType, cases: list[Case], state: Learned) -> float:
    """Return the share of cases whose fault, as the simulator knows it, is named first."""
    fair = {code: m.diagnosable_as for code, m in CATALOGUE[machine.name].items()}
    named = [learned.rank(state, machine, d, c)[0].fault in fair[code] for code, d, c in cases]
    return sum(named) / len(named)


def learnt(machine: MachineType, cases: list[Case]) -> Learned:
    state = learned.empty(machine)
    for code, d, c in cases:
        learned.learn(state, machine, d, c, code)
    return state


def test_simulated_machines_are_named_as_well_or_better_with_labels() -> None:
    machine, taught_on, judged_on = fleet()
    assert len(judged_on) >= 16
    before = share(machine, judged_on, learned.empty(machine))
    assert share(machine, judged_on, learnt(machine, taught_on)) >= before >= 0.8


def test_a_wholly_wrong_table_is_overcome_by_two_labels_of_each_fault() -> None:
    machine, taught_on, judged_on = fleet()
    spec = [f for f in machine.faults if f.symptoms]
    moved = {
        f.code: msgspec.structs.replace(f, symptoms=g.symptoms)
        for f, g in zip(spec, spec[1:] + spec[:1], strict=True)
    }
    wrong = msgspec.structs.replace(machine, faults=[moved.get(f.code, f) for f in machine.faults])
    before = share(wrong, judged_on, learned.empty(wrong))
    assert before < 0.3
    assert share(wrong, judged_on, learnt(wrong, taught_on)) > before + 0.3


def test_a_fault_of_neither_table_nor_labels_stays_as_unknown_as_before() -> None:
    machine, taught_on, judged_on = fleet()
    unknown = {False: 0, True: 0}
    for code in {c for c, _, _ in judged_on}:
        without = [f for f in machine.faults if f.code != code]
        lacking = msgspec.structs.replace(machine, faults=without)
        others = learnt(lacking, [case for case in taught_on if case[0] != code])
        for labelled, state in ((False, learned.empty(lacking)), (True, others)):
            for c, d, checks in judged_on:
                if c == code:
                    ranked = learned.rank(state, lacking, d, checks)
                    unknown[labelled] += ranked[0].fault == UNKNOWN
    assert unknown[False] >= len(judged_on) / 2
    assert unknown[True] >= unknown[False] - 0.1 * len(judged_on)
