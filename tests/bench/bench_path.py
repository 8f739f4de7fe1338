"""What a message costs on its way from the broker to the store, beside what others cost.

    make bench ARGS="[--quick] [--sections receive,full,outage,edge] [--outage SECONDS]"

Progress goes to standard error, the page to standard output and, with its chart, to a file; all
figures go to a JSON file. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from cloud.adapters import broker
from contract.errors import FarfixError
from farfix import children
from tests.bench import path_full, path_outage, path_receivers, path_report, path_targets
from tests.bench.path_full import FULL, QUICK, Found
from tests.bench.path_gateway import GATEWAY
from tests.bench.path_outage import Drill, Outage
from tests.bench.path_packets import SITE
from tests.bench.path_process import ROOT
from tests.bench.path_receivers import Received
from tests.bench.path_report import Results
from tests.bench.report import say

OUT = ROOT / "docs" / "benchmarks-path.md"
REPORT = ROOT / "var" / "bench" / "path.json"
SECTIONS = ("receive", "full", "outage", "edge")
RECEIVED, RECEIVED_QUICK = 100_000, 5_000
OUTAGE_S, OUTAGE_QUICK_S = 30.0, 3.0
EDGE_S, EDGE_QUICK_S = 20.0, 3.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="does it run? Half a minute")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="default: %(default)s")
    parser.add_argument(
        "--outage", type=float, help=f"seconds without database, default {OUTAGE_S:.0f}"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    args.sections = args.sections.split(",")
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if args.outage is None:
        args.outage = OUTAGE_QUICK_S if args.quick else OUTAGE_S
    if broker.mosquitto_program() is None:
        parser.error("mosquitto is not installed (Debian: apt install mosquitto)")
    return args


def _receive(*, quick: bool) -> list[Received]:
    users = [broker.User(GATEWAY), broker.User(SITE, SITE)]
    with (
        tempfile.TemporaryDirectory(prefix="farfix-bench-") as name,
        broker.start(Path(name) / "broker", users, kind=broker.Kind.MOSQUITTO) as running,
    ):
        count = RECEIVED_QUICK if quick else RECEIVED
        phases = 1 if quick else path_full.PHASES
        return path_receivers.measure(running, SITE, GATEWAY, count, phases)


def _outage(seconds: float, *, quick: bool) -> Outage | None:
    say(f"outage of the database: {seconds:g} s")
    plan = Drill(seconds, devices=100, quiet_s=2.0) if quick else Drill(seconds)
    try:
        return path_outage.drill(plan)
    except FarfixError as error:
        say(f"  not measured: {error}")
        return None


def _edge(*, quick: bool) -> dict[str, float] | None:
    say("edge agent: 32 devices at 1 Hz")
    seconds = EDGE_QUICK_S if quick else EDGE_S
    program = Path(__file__).with_name("edge_cost.py")
    command = [sys.executable, str(program), "--devices", "32", "--registers", "30"]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        say(f"  not measured: {done.stderr[-1000:]}")
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _command(args: argparse.Namespace) -> str:
    """Return the command that gives this page, wherever it was written to."""
    words = ["--quick"] if args.quick else []
    if tuple(args.sections) != SECTIONS:
        words.append(f"--sections {','.join(args.sections)}")
    if "outage" in args.sections:
        words.append(f"--outage {args.outage:g}")
    return f'make bench ARGS="{" ".join(words)}"' if words else "make bench"


def main() -> None:
    """Measure what was asked for, print and write the report."""
    args, start = _options(), time.monotonic()
    children.end_like_ctrl_c()
    received = _receive(quick=args.quick) if "receive" in args.sections else []
    empty = Found([], [], [], [])
    scale = QUICK if args.quick else FULL
    path = path_full.measure(scale) if "full" in args.sections else empty
    outage = _outage(args.outage, quick=args.quick) if "outage" in args.sections else None
    edge = _edge(quick=args.quick) if "edge" in args.sections else None
    targets = path_targets.judge(received, path, outage, edge)
    seconds = time.monotonic() - start
    results = Results(
        _command(args), path_report.machine(), seconds, received, path, outage, edge, targets
    )
    path_report.draw(received, path, args.out.parent / "images")
    text = path_report.markdown(results)
    args.out.write_text(text)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    print(text)  # noqa: T201  # what the program is for
    say(f"written: {args.out} and {args.report}, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
