"""Hitting real processes: who is killed dies, who is stopped stands still, and all come back."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.adapters.broker import User, mosquitto_program
from contract.errors import Refused
from farfix.chaos.director import Director, unfired
from farfix.chaos.plan import Act, Network, Plan, Program, Strike, Trouble
from farfix.chaos.programs import GROUP, MAIN, WORKER, Programs, state
from farfix.chaos.proxy import Proxy, Toxics

pytestmark = pytest.mark.skipif(
    not mosquitto_program() and not os.environ.get("CI"), reason="apt-get install mosquitto"
)
ALONE = "import time; time.sleep(600)"
FAMILY = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c',\n"
    "    'import sys, time, pathlib; sys.stdin.read()\\n'\n"
    "    'while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)', sys.argv[1]],\n"
    "    stdin=subprocess.PIPE)\n"
    "time.sleep(600)\n"
)
"""A main process and a worker that sees its end, and then waits until it may go."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    (tmp_path / "chaos_alone.py").write_text(ALONE)
    (tmp_path / "chaos_family.py").write_text(FAMILY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Programs(tmp_path, [User("gateway")]) as running:
        yield running


def strike(program: Program, act: Act, part: str, last_s: float = 0.1) -> Strike:
    return Strike(0, program, act, part, last_s)


def eventually(true: Callable[[], object]) -> None:
    """Wait for something, at most until the test's own limit."""
    while not true():
        time.sleep(0.02)


def undo(programs: Programs, what: Strike) -> None:
    eventually(lambda: programs.over(what))
    programs.undo(what)


@pytest.mark.parametrize("act", Act)
def test_an_agent_is_hit_and_comes_back(programs: Programs, act: Act) -> None:
    programs.start("edge-a", "chaos_alone")
    before, what = programs.pid("edge-a"), strike(Program.EDGE, act, "edge-a")
    assert str(before) in programs.hit(what)
    expected = {Act.KILL: "", Act.PAUSE: "T"}
    if act in expected:
        assert state(before) == expected[act]
    undo(programs, what)
    eventually(lambda: state(programs.pid("edge-a")) in {"S", "R"})
    assert (programs.pid("edge-a") == before) is (act is Act.PAUSE)
    assert programs.alive("edge-a")
    assert programs.problems == []
    assert programs.life == 0


@pytest.mark.parametrize("act", Act)
def test_the_broker_keeps_its_port(programs: Programs, act: Act) -> None:
    port, before = programs.broker.port, programs.broker.pid
    what = strike(Program.BROKER, act, "broker")
    programs.hit(what)
    undo(programs, what)
    assert programs.broker.running()
    assert (programs.broker.port, programs.broker.pid == before) == (port, act is Act.PAUSE)


def start_family(programs: Programs, may_go: Path) -> tuple[int, int]:
    programs.start("cloud", "chaos_family", str(may_go))
    eventually(lambda: programs.workers("cloud"))
    (worker,) = programs.workers("cloud")
    return programs.pid("cloud"), worker


@pytest.mark.parametrize(
    ("part", "main_dies", "worker_dies"),
    [(MAIN, True, False), (WORKER, False, True), (GROUP, True, True)],
)
def test_of_the_gateway_one_process_is_hit_or_all(
    programs: Programs, tmp_path: Path, part: str, main_dies: bool, worker_dies: bool
) -> None:
    main, worker = start_family(programs, tmp_path / "go")
    what = strike(Program.CLOUD, Act.KILL, part)
    programs.hit(what)
    assert (state(main) == "", state(worker) == "") == (main_dies, worker_dies)
    (tmp_path / "go").touch()
    undo(programs, what)
    assert (programs.pid("cloud") != main) is main_dies
    assert programs.alive("cloud")
    assert programs.problems == []
    assert programs.life is None
    programs.settled(what)
    assert programs.life == 1
    assert state(worker) == "" or not main_dies  # nobody started beside an old worker


def test_a_worker_that_outlives_its_main_process_is_noted_and_ended(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farfix.chaos.programs.ORPHANS_S", 0.2)
    _, worker = start_family(programs, tmp_path / "never")
    what = strike(Program.CLOUD, Act.KILL, MAIN)
    programs.hit(what)
    undo(programs, what)
    (problem,) = programs.problems
    assert "outlived" in problem
    eventually(lambda: state(worker) == "")
    (tmp_path / "never").touch()  # lets the worker of its second life go as well


def test_a_gateway_without_workers_has_none_to_hit(programs: Programs) -> None:
    programs.start("cloud", "chaos_alone")
    with pytest.raises(Refused, match="no worker"):
        programs.hit(strike(Program.CLOUD, Act.KILL, WORKER))


def test_a_stopped_program_does_not_outlive_the_drill(programs: Programs) -> None:
    programs.start("edge-a", "chaos_alone")
    pid = programs.pid("edge-a")
    programs.hit(strike(Program.EDGE, Act.PAUSE, "edge-a"))
    programs.__exit__(None, None, None)
    assert state(pid) == ""


def play(director: Director) -> None:
    while not director.done:
        director.step(1000)
        time.sleep(0.02)


def test_the_plan_is_carried_out_and_counted(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farfix.chaos.director.GAP_S", 0.1)
    monkeypatch.setattr("farfix.chaos.director.AGAIN_MAX", 1)
    programs.start("edge-a", "chaos_alone")
    programs.start("cloud", "chaos_alone")
    plan = Plan(
        [
            Strike(10, Program.EDGE, Act.KILL, "edge-a", 0.2),
            Strike(20, Program.BROKER, Act.PAUSE, "broker", 0.2),
            Strike(30, Program.CLOUD, Act.KILL, WORKER, 0.2),
            Strike(40, Program.EDGE, Act.RESTART, "edge-a", 0.0),
        ],
        [Trouble(15, "quiet", Network.PARTITION, 0.2, Toxics(timeout=True), [])],
    )
    said: list[str] = []
    with Proxy({"quiet": programs.broker.port}) as proxy:
        director = Director(plan, programs, proxy, lambda *_: True, said.append)
        director.step(0)
        assert not director.events
        play(director)
    assert director.fired["kill edge"] == director.fired["restart edge"] == 1
    assert director.fired["pause broker"] == director.kills == 1
    assert unfired(plan, director.fired) == ["kill cloud", "partition quiet"]
    assert [p for p in director.problems if "no worker" in p] == director.problems
    assert len(said) == len(director.events) > 6


def test_who_ends_by_itself_is_started_again_and_noted(programs: Programs) -> None:
    programs.start("edge-a", "chaos_alone")
    os.kill(programs.pid("edge-a"), 9)
    eventually(lambda: not programs.alive("edge-a"))
    with Proxy({}) as proxy:
        director = Director(Plan([], []), programs, proxy, lambda *_: True, lambda _: None)
        director.step(1)
    assert programs.alive("edge-a")
    (problem,) = director.problems
    assert "ended by itself" in problem
