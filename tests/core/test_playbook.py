"""Playbooks: what ships holds together, what is wrong is named, and plans follow hypotheses."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from cloud.core import playbook
from cloud.core.limits import Limits
from cloud.core.states import Diagnosis, Mode, Plan, Timing
from contract import machines
from contract.errors import Malformed
from contract.faults import NO_DATA, UNKNOWN, Deviation, Direction, Hypothesis, Severity
from contract.tickets import EscalationReason

HOUR_NS = 3600 * 10**9
MACHINES = machines.library()
BOOKS = playbook.shipped(MACHINES)
PUMP = MACHINES["centrifugal_pump"]


def plan(*ranked: tuple[str, float], tier: playbook.Tier = "B", mode: Mode | None = None) -> Plan:
    hypotheses = [Hypothesis(fault, p, []) for fault, p in ranked]
    found = playbook.diagnosis(PUMP, hypotheses, [], [], BOOKS.policy)
    return playbook.plan(PUMP, tier, found, BOOKS, 0, mode_override=mode)


def remedies(made: Plan) -> list[str]:
    return [step.remedy for step in made.steps]


# What ships.


def test_every_machine_type_has_a_playbook_in_the_strictest_mode() -> None:
    assert set(BOOKS.by_machine_type) == set(MACHINES)
    for book in BOOKS.by_machine_type.values():
        modes = [book.mode, *(entry.mode for entry in book.faults)]
        assert set(modes) <= {Mode.SUGGEST, None}


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_every_fault_with_remedies_is_covered(name: str) -> None:
    covered = {entry.fault for entry in BOOKS.by_machine_type[name].faults}
    assert covered == {f.code for f in MACHINES[name].faults if f.remedies}


def test_shipped_policy_says_what_the_code_would_say_without_it() -> None:
    assert BOOKS.policy.limits == Limits()
    assert BOOKS.policy.timing == Timing()


# Plans.


def test_the_leading_hypothesis_gives_the_remedies() -> None:
    made = plan(("cavitation", 0.8), ("clogged_strainer", 0.2))
    assert remedies(made) == ["open_suction_valve"]
    assert made.steps[0].argument == 100
    assert made.playbook == "centrifugal_pump/cavitation"
    assert made.no_remote is None


def test_further_hypotheses_add_theirs_from_their_share_on() -> None:
    made = plan(("cavitation", 0.5), ("controller_hang", 0.25), ("setpoint_drift", 0.24))
    assert remedies(made) == ["open_suction_valve", "restart_controller"]
    assert [step.fault for step in made.steps] == ["cavitation", "controller_hang"]


def test_a_remedy_is_planned_once() -> None:
    made = plan((UNKNOWN, 0.6), ("controller_hang", 0.4))
    assert remedies(made) == ["restart_controller"]


def test_an_unknown_fault_has_the_default_remedy_only_when_it_leads() -> None:
    assert remedies(plan((UNKNOWN, 0.6), ("bearing_wear", 0.4))) == ["restart_controller"]
    assert remedies(plan(("bearing_wear", 0.6), (UNKNOWN, 0.4))) == []


def test_a_fault_for_hands_has_no_remedies_and_says_so() -> None:
    made = plan(("bearing_wear", 0.9))
    assert made.no_remote is EscalationReason.NOT_REMOTABLE
    assert "hands on site" in made.no_remote_detail
    assert made.observe_s == BOOKS.policy.timing.visit_observe_s


def test_a_silent_machine_is_unreachable_and_watched_longer() -> None:
    made = plan((NO_DATA, 1.0))
    assert made.no_remote is EscalationReason.DEVICE_UNREACHABLE
    assert made.observe_s == BOOKS.policy.timing.silent_observe_s
    assert made.steps == []


def test_high_risk_comes_from_the_command() -> None:
    assert [s.high_risk for s in plan(("firmware_bug", 1.0)).steps] == [True]
    assert [s.high_risk for s in plan(("cavitation", 1.0)).steps] == [False]


def test_a_demonstration_may_override_the_mode() -> None:
    assert plan(("cavitation", 1.0)).mode is Mode.SUGGEST
    assert plan(("cavitation", 1.0), mode=Mode.AUTO).mode is Mode.AUTO


def test_deadlines_follow_tier_and_severity() -> None:
    made = plan(("cavitation", 1.0), tier="A")
    assert made.respond_by_ns == HOUR_NS
    assert made.due_ns == 8 * HOUR_NS
    assert made.escalate_at_ns == 6 * HOUR_NS
    assert made.service_level.startswith("Level A, severity high: response within 1 h and running")
    low = plan(("flow_sensor_drift", 1.0), tier="A")
    assert low.due_ns == 72 * HOUR_NS


def test_deadlines_are_counted_in_the_hours_of_the_site() -> None:
    thursday_ns = 0  # 1970 began on a Thursday
    found = playbook.diagnosis(PUMP, [Hypothesis("cavitation", 1.0, [])], [], [], BOOKS.policy)
    made = playbook.plan(PUMP, "B", found, BOOKS, thursday_ns, zone="Asia/Shanghai")
    assert made.due_ns == 32 * HOUR_NS, "14 h from 8 to 22 on Thursday there, 10 h on Friday"
    assert made.escalate_at_ns == made.due_ns - 4 * HOUR_NS
    assert "mon to sat 06:00-22:00; Asia/Shanghai" in made.service_level


def test_a_likely_danger_makes_the_case_unsafe() -> None:
    def found(danger: float, sigmas: float = 4.0) -> Diagnosis:
        ranked = [
            Hypothesis("cavitation", 1 - danger, []),
            Hypothesis("discharge_overpressure", danger, []),
        ]
        seen = [Deviation("discharge_pressure_bar", Direction.ABOVE, sigmas)]
        return playbook.diagnosis(PUMP, ranked, seen, [], BOOKS.policy)

    assert found(0.4).safety
    assert found(0.4).fault == "discharge_overpressure"
    assert found(0.4).severity is Severity.CRITICAL
    assert not found(0.39).safety
    assert not found(0.9, sigmas=3.9).safety, "a faint pattern is no danger"


def test_no_hypothesis_at_all_is_an_unknown_fault() -> None:
    assert playbook.diagnosis(PUMP, [], [], [], BOOKS.policy).fault == UNKNOWN


def test_the_strictest_mode_of_what_is_planned_rules(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "centrifugal_pump.toml").write_text(
        'machine_type = "centrifugal_pump"\nmode = "auto"\n'
        '[[faults]]\nfault = "cavitation"\nremedies = ["open_suction_valve"]\n'
        '[[faults]]\nfault = "firmware_bug"\nremedies = ["update_firmware"]\nmode = "approve"\n'
    )
    books = playbook.load(folder, MACHINES)
    ranked = [Hypothesis("cavitation", 0.6, []), Hypothesis("firmware_bug", 0.4, [])]
    found = playbook.diagnosis(PUMP, ranked, [], [], books.policy)
    assert playbook.plan(PUMP, "B", found, books, 0).mode is Mode.APPROVE


# What is wrong.


def copied(tmp_path: Path) -> Path:
    source = resources.files("cloud").joinpath("playbooks")
    with resources.as_file(source) as folder:
        shutil.copytree(folder, tmp_path / "playbooks")
    return tmp_path / "playbooks"


def test_a_copied_folder_loads_like_the_shipped_one(tmp_path: Path) -> None:
    assert playbook.load(copied(tmp_path), MACHINES) == BOOKS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine_type = ", "pump.toml: Invalid value"),
        ('machine_type = "lathe"', "pump.toml: machine_type 'lathe' is unknown; known: air_comp"),
        ('machine_type = "chiller"', "machine_type chiller has a file already"),
        ('machine_type = "pump"\nspeed = 3', "pump.toml: Object contains unknown field `speed`"),
        (
            'machine_type = "water_pump_rig"\n[[faults]]\nfault = "worms"\nremedies = ["x"]',
            "faults[0].fault 'worms' is unknown; known: ",
        ),
        (
            'machine_type = "chiller"\nfaults = [{fault="setpoint_drift", remedies=["dance"]}]',
            "faults[0].remedies: dance not among the machine type's remedies for setpoint_drift",
        ),
        (
            'machine_type = "chiller"\n[[faults]]\nfault = "high_pressure"\nremedies = ["x"]',
            "high_pressure is a safety fault, it has no remote remedy",
        ),
        (
            'machine_type = "chiller"\n[default]\nremedies = ["dance"]',
            "default.remedies: there is no remedy dance",
        ),
        (
            'machine_type = "centrifugal_pump"\n[default]\nremedies = ["update_firmware"]',
            "default.remedies: update_firmware is high-risk",
        ),
        (
            'machine_type = "chiller"\nmode = "yolo"',
            "pump.toml: Invalid enum value 'yolo' - at `$.mode`",
        ),
    ],
)
def test_errors_name_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    folder = copied(tmp_path)
    (folder / "pump.toml").write_text(text)
    with pytest.raises(Malformed) as error:
        playbook.load(folder, MACHINES)
    assert said in str(error.value)


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "one.toml").write_text('machine_type = "lathe"')
    (folder / "two.toml").write_text('machine_type = "press"')
    with pytest.raises(Malformed, match=r"(?s)lathe.*press"):
        playbook.load(folder, MACHINES)


def test_a_fault_is_given_once(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    entry = '[[faults]]\nfault = "cavitation"\nremedies = ["open_suction_valve"]\n'
    book = f'machine_type = "centrifugal_pump"\n{entry}{entry}'
    (folder / "centrifugal_pump.toml").write_text(book)
    with pytest.raises(Malformed, match="faults: cavitation is given twice"):
        playbook.load(folder, MACHINES)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("restore_h = { critical = 4, ", "restore_h = { ", "levels.A.restore_h: hours for critic"),
        ("[levels.C]", "[levels.D]", "Invalid enum value 'D' - at `key` in `$.levels`"),
        ("on_site_lead_h = 2", "", "Object missing required field `on_site_lead_h` - at `$.levels"),
        (
            "on_site_lead_h = 2",
            "on_site_lead_h = 5",
            "levels.A.on_site_lead_h is longer",
        ),
        (
            'calendar = "weekdays"',
            'calendar = "days"',
            "levels.C.calendar 'days' is unknown",
        ),
        ('fri = ["08:00-18:00"]', 'fri = ["08:00-7:00"]', "at `$.calendars[...].fri[0]`"),
        ('fri = ["08:00-18:00"]', 'fri = ["08:00-07:00"]', "calendars.weekdays.fri: hours end bef"),
        ('fri = ["08:00-18:00"]', "holidays = [2026]", "Expected `date`, got `int` - at `$.calend"),
        (
            "pause_max_h = 72\n",
            "pause_max_h = 0\n",
            "levels.A.pause_max_h and pause_reasons belong",
        ),
        ("[calendars.weekdays]", "[calendars.round_the_clock]", "the name is taken, it needs no"),
        ("dwell_s = 180 ", "dwell_s = 0 ", "Expected `float` > 0.0 - at `$.timing.dwell_s`"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    folder = copied(tmp_path)
    text = (folder / "service.toml").read_text()
    assert old in text
    (folder / "service.toml").write_text(text.replace(old, new))
    with pytest.raises(Malformed) as error:
        playbook.load(folder, MACHINES)
    assert "service.toml: " in str(error.value)
    assert said in str(error.value)


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"service\.toml is missing"):
        playbook.load(tmp_path, MACHINES)


def test_what_looks_like_earlier_wrong_alarms_is_not_urgent_but_no_danger_is_hidden_by_it() -> None:
    ranked = [Hypothesis("no_fault_found", 0.6, []), Hypothesis("bearing_wear", 0.4, [])]
    found = playbook.diagnosis(PUMP, ranked, [], [], BOOKS.policy)
    assert (found.title, found.severity) == ("Looks like earlier wrong alarms", Severity.LOW)
    made = playbook.plan(PUMP, "B", found, BOOKS, 0)
    assert made.steps == []
    assert "a person should judge it" in made.no_remote_detail
    danger = next(f for f in PUMP.faults if f.safety)
    key = max(danger.symptoms, key=lambda s: s.weight)
    seen = [Deviation(key.signal, key.direction, 9.0)]
    ranked = [Hypothesis("no_fault_found", 0.55, []), Hypothesis(danger.code, 0.45, [])]
    found = playbook.diagnosis(PUMP, ranked, seen, [], BOOKS.policy)
    assert (found.fault, found.severity, found.safety) == (danger.code, danger.severity, True)
