"""``farfix rollout`` against a real server: orders, tables, decisions, refusals, exit codes."""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from msgspec.structs import replace
from rich.console import Console

from cloud.core.rollout_states import DEFAULT_POLICY, Phase, Stage, UpdatePhase
from cloud.web import guard, problems, rollouts
from cloud.web.guard import Doors
from contract.errors import Malformed, Unreachable
from farfix import rollout_order, rollout_report
from farfix.__main__ import main
from farfix.rollout_api import RolloutApi
from tests.web import fixture_people
from tests.web.fixture_rollouts import HOSTILE_DEVICE, PUMP, MemoryRollouts, build

TOKEN = "a-test-token"
Done = subprocess.CompletedProcess[str]
Tool = Callable[..., Done]
RELEASE = ("--machine-type", PUMP, "--version", "1.2.0")


@pytest.fixture
def memory() -> MemoryRollouts:
    return build()


@pytest.fixture
def address(memory: MemoryRollouts, tmp_path: Path) -> Iterator[str]:
    with fixture_people.doors(tmp_path) as doors:
        yield from served(memory, doors)


def served(memory: MemoryRollouts, doors: Doors) -> Iterator[str]:
    app = FastAPI()
    app.add_middleware(guard.BodyLimit)
    problems.install(app)
    app.include_router(rollouts.routes(memory, doors))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def tool(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Tool:
    """Run ``farfix rollout`` in this process, with the token."""
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str, token_file: Path | None = token) -> Done:
        given = ["--gateway", address] + (["--token-file", str(token_file)] if token_file else [])
        monkeypatch.setattr(sys, "argv", ["farfix", "rollout", *arguments, *given])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, output.out, output.err)

    return run


def test_a_preview_lists_machines_and_begins_nothing(tool: Tool, memory: MemoryRollouts) -> None:
    before = dict(memory.found)
    done = tool("preview", *RELEASE, "--site", "north", "--stages", "3,50%,100%", "--soak", "30min")
    assert done.returncode == 0, done.stderr
    assert "3 machines" in done.stdout
    assert "30 min" in done.stdout
    assert "not for hardware revision 3" in done.stdout
    assert memory.found == before


def test_a_rollout_is_started_from_options(tool: Tool, memory: MemoryRollouts) -> None:
    done = tool(
        "start", *RELEASE, "--by", "J. Doe", "--stages", "2,100%", "--soak", "2h",
        "--hardware", "1", "--hardware", "2", "--label", "critical", "--title", "Try it",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rollout 6: running")
    order = memory.found[6][0].order
    assert order.policy.stages == [
        Stage(count=2, soak_s=7200.0), Stage(percent=100, soak_s=7200.0),
    ]  # fmt: skip
    assert (order.selection.hardware, order.selection.labels) == ([1, 2], ["critical"])
    assert (order.title, memory.found[6][0].author) == ("Try it", "J. Doe (by api token)")


def test_a_rollout_is_started_from_a_file(
    tool: Tool, memory: MemoryRollouts, tmp_path: Path
) -> None:
    file = tmp_path / "order.toml"
    file.write_text(
        f"""
        machine_type = "{PUMP}"
        version = "1.2.0"
        [selection]
        sites = ["north"]
        [policy]
        stages = [{{count = 1, soak_s = 600}}, {{percent = 100}}]
        [policy.window]
        start = "20:00"
        timezone = "Europe/Berlin"
        """
    )
    done = tool("start", "--order", str(file), "--by", "J. Doe")
    assert done.returncode == 0, done.stderr
    order = memory.found[6][0].order
    assert order.policy.window is not None
    assert order.policy.window.timezone == "Europe/Berlin"
    both = tool("start", "--order", str(file), "--site", "south", "--by", "J. Doe")
    assert both.returncode == 2
    assert "not both" in both.stderr
    file.write_text('machine_type = "p"\nversion = "1.2.0"\n[policy]\nstages = [{soak = 1}]')
    wrong = tool("start", "--order", str(file), "--by", "J. Doe")
    assert wrong.returncode == 2
    assert "$.policy.stages[0]" in wrong.stderr


def test_rollouts_are_listed(tool: Tool) -> None:
    done = tool("list")
    assert done.returncode == 0
    numbers = re.findall(r"^. (\d) ", done.stdout, re.MULTILINE)
    assert numbers == ["5", "4", "3", "2", "1"]
    assert "Needs a second person" in done.stdout


def test_a_rollout_is_shown_with_its_troubles(tool: Tool) -> None:
    done = tool("show", "3")
    assert done.returncode == 0, done.stderr
    assert "> 3" in done.stdout
    assert "8 watched" in done.stdout
    assert "Evidence of harm: 14 %" in done.stdout
    assert "<script>" in done.stdout
    assert "farfix rollout pause|stop|cancel 3" in done.stdout
    stopped = tool("show", "2").stdout
    assert "5 machines reached, 2 harmed" in stopped


def test_watching_ends_with_the_rollout(
    tool: Tool, memory: MemoryRollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_report, "WATCH_EVERY_S", 0.05)

    def end() -> None:
        time.sleep(0.3)
        found, updates = memory.found[3]
        memory.found[3] = (replace(found, phase=Phase.FINISHED), updates)

    later = threading.Thread(target=end)
    later.start()
    done = tool("show", "3", "--watch")
    later.join()
    assert done.returncode == 0
    assert "It is done" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "phase"),
    [
        (("pause", "3"), Phase.PAUSED),
        (("stop", "3", "--why", "pressure drops"), Phase.STOPPING),
        (("cancel", "4", "--why", "not needed"), Phase.CANCELED),
        (("approve", "4"), Phase.RUNNING),
    ],
)
def test_people_decide(
    tool: Tool, memory: MemoryRollouts, arguments: tuple[str, ...], phase: Phase
) -> None:
    done = tool(*arguments, "--by", "R. Roe")
    assert done.returncode == 0, done.stderr
    assert memory.found[int(arguments[1])][0].phase is phase
    assert any(row.by == "R. Roe (by api token)" for row in memory.log)


def test_pause_and_resume(tool: Tool, memory: MemoryRollouts) -> None:
    assert tool("pause", "3", "--by", "R. Roe").returncode == 0
    assert tool("resume", "3", "--by", "R. Roe").returncode == 0
    assert memory.found[3][0].phase is Phase.RUNNING


def test_a_token_is_printed_alone(tool: Tool, memory: MemoryRollouts) -> None:
    done = tool("token", "pump-4", "--by", "J. Doe")
    assert done.stdout.strip() == memory.tokens["pump-4"]
    nobody = tool("token", "pump/../4", "--by", "J. Doe")
    assert nobody.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("approve", "4", "--by", "J. Doe"), 1, "a second person must approve it"),
        (("pause", "1", "--by", "J. Doe"), 1, "finished"),
        (("show", "99"), 1, "There is no rollout 99"),
        (("start", "--by", "J. Doe"), 2, "--machine-type and --version"),
        (("preview", *RELEASE, "--stages", "5,x"), 2, "'x' is no stage"),
        (("preview", *RELEASE, "--soak", "soon"), 2, "no span of time"),
        (("preview", *RELEASE, "--site", "moon"), 1, "no machine is left"),
        (("preview", "--machine-type", PUMP, "--version", "1.1.0"), 1, "barred"),
        (("start", "--order", "/nowhere.toml", "--by", "J. Doe"), 2, "/nowhere.toml"),
        (("stop", "3", "--by", "J. Doe"), 2, "--why"),
        (("stop", "3", "--why", "x"), 2, "--by"),
    ],
)
def test_refusals_say_why(tool: Tool, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = tool(*arguments)
    assert done.returncode == code, done.stdout
    assert said in done.stderr


def test_without_the_token_it_says_how_to_give_it(tool: Tool) -> None:
    done = tool("pause", "3", "--by", "J. Doe", token_file=None)
    assert done.returncode == 1
    assert "--token-file" in done.stderr


def test_a_gateway_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    api = RolloutApi(f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="does not answer GET /api/rollouts"):
        api.list(1)
    api.close()


def test_a_devices_text_cannot_steer_the_terminal(address: str, memory: MemoryRollouts) -> None:
    memory.set(3, HOSTILE_DEVICE, detail="\x1b]0;owned\x07\x1b[2J[red]bold[/red]\u202egnp")
    console = Console(width=200, record=True, force_terminal=True, color_system="truecolor")
    api = RolloutApi(address, TOKEN)
    with console.capture() as captured:
        rollout_report.show(api, 3, console, watch=False)
    api.close()
    shown = captured.get()
    assert "[red]bold[/red]" in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_a_bar_shows_every_phase_that_is_there() -> None:
    counts = {UpdatePhase.UPDATED.value: 5000, "failed": 1, "unclear": 1, "waiting": 3}
    made = rollout_report.bar(counts)
    assert len(made) == rollout_report.BAR
    assert {str(span.style) for span in made.spans} == {"green", "bright_black", "red", "magenta"}
    assert len(rollout_report.bar({})) == 0


def test_the_default_stages_keep_their_number_with_another_soak() -> None:
    given = rollout_order.Given(PUMP, "1.2.0", [], [], [], [], "", "2h")
    stages = rollout_order.read(None, given).policy.stages
    assert [s.soak_s for s in stages] == [7200.0] * len(DEFAULT_POLICY.stages)
    with pytest.raises(Malformed, match="name the release"):
        rollout_order.read(None, rollout_order.NOTHING)
