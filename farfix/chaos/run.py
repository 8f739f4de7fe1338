"""`farfix chaos`: what the user chose, the stage, and the exit code."""

import sys
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from cloud.adapters import broker
from cloud.adapters.clock import PlantClock
from contract.errors import FarfixError, Malformed, Refused
from farfix.chaos import influxd, stand
from farfix.chaos.drill import Drill
from farfix.chaos.plan import Network, Program
from farfix.chaos.programs import Programs
from farfix.chaos.proxy import Proxy
from farfix.chaos.report import Report
from farfix.chaos.screen import Screen
from farfix.chaos.watcher import Watcher
from farfix.children import end_like_ctrl_c
from farfix.demo import stage
from farfix.demo.dispatch import Dispatch
from farfix.screen import check_report, write_report


class Options(Struct, frozen=True):
    """What the user chose."""

    samples: int = 20_000
    kill: frozenset[Program] = frozenset(Program)
    network: frozenset[Network] = frozenset(Network)
    seed: int = 1

    @property
    def folder(self) -> Path:
        """Scratch folder, fresh for each run."""
        return Path("var") / f"chaos-{self.seed}"


def options(samples: int, kill: str, network: str, seed: int) -> Options:
    """Read what the user wrote.

    Raises:
        Malformed: a word that is none of those that may stand there.
    """
    try:
        return Options(
            samples,
            frozenset(Program(word) for word in kill.split(",") if word),
            frozenset(Network(word) for word in network.split(",") if word),
            seed,
        )
    except ValueError as error:
        raise Malformed(
            f"{error}; --kill takes {', '.join(Program)}; --network takes {', '.join(Network)}"
        ) from error


def main(chosen: Options, report_file: Path | None) -> int:
    """Run a drill; return the exit code."""
    check_report(report_file)
    if Program.STORE in chosen.kill and influxd.program() is None:
        raise Refused(
            "the embedded store lives inside the gateway and cannot be killed alone: install "
            "influxd (Debian: apt install influxdb) or leave `store` out of --kill"
        )
    if broker.mosquitto_program() is None:
        raise Refused("a drill needs mosquitto (Debian: apt install mosquitto)")
    end_like_ctrl_c()
    try:
        with Screen(live=sys.stdout.isatty()) as screen:
            result = run(chosen, screen)
    except KeyboardInterrupt:
        print("Interrupted; everything is stopped.", file=sys.stderr)
        return 1
    except FarfixError as error:
        print(f"farfix chaos: {error}", file=sys.stderr)
        return 1
    file = report_file or chosen.folder / "report.json"
    write_report(file, result)
    print(f"Report: {file}")
    return 1 if result.problems else 0


def run(chosen: Options, screen: Screen) -> Report:
    """Run a whole drill and return what came of it."""
    at = stand.prepare(chosen.folder.absolute(), chosen.samples, PlantClock().now_ns())
    with ExitStack() as stack:
        dispatch = stack.enter_context(Dispatch(at.stage.webhook_secret))
        programs = stack.enter_context(Programs(at.stage.folder, stage.USERS))
        targets = at.targets(programs.broker.port)
        proxy = stack.enter_context(Proxy(targets, chosen.seed))
        ports = {link: proxy.port(link) for link in targets}
        stand.write_configs(at, programs.broker, ports, dispatch.url, chosen.seed)
        watcher = Watcher(at.stage.base_url, at.stage.api_token, lambda: programs.life)
        stack.enter_context(watcher)
        drill = Drill(chosen.samples, at, screen, programs, proxy, dispatch, watcher)
        drill.start()
        drill.commission()
        drill.break_machines(chosen.seed)
        drill.play(sorted(chosen.kill), sorted(chosen.network), chosen.seed)
        drill.drain()
        result = drill.report(chosen.seed)
    screen.result(result)
    return result
