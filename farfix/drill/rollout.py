"""``farfix drill rollout``: are bad releases stopped in time, and good ones left alone?"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from contract.errors import Refused
from farfix.drill.fleet_run import End, run
from farfix.drill.rollout_report import Drill, problems, summary, table
from farfix.drill.world import Harm, Kind


def main(devices: int, bad_rate: float, seed: int, runs: int, report: Path | None) -> int:
    """Roll releases of every kind out to fleets drawn from seeds, show and write what happened.

    Args:
        devices: size of every fleet.
        bad_rate: share of the machines concerned that a bad release harms.
        seed: of the first fleet; the others follow.
        runs: rollouts of each kind.
        report: file for the report as JSON.

    Returns:
        0, or 1 when a promise was not kept.

    Raises:
        Refused: the report cannot be written.
    """
    console = Console(highlight=False, width=None if Console().is_terminal else 150)
    begin_s = time.perf_counter()
    ends = _all(devices, bad_rate, range(seed, seed + runs), console)
    summaries = [summary(kind, ends[kind], devices) for kind in Kind]
    drill = Drill(
        devices=devices,
        bad_rate=bad_rate,
        seed=seed,
        runs=runs,
        seconds=time.perf_counter() - begin_s,
        summaries=summaries,
        problems=problems(summaries, bad_rate),
        ends=ends,
    )
    console.print(table(drill))
    for problem in drill.problems:
        console.print(f"Not kept: {problem}.")
    if report is not None:
        _write(report, drill)
    return 1 if drill.problems else 0


def _all(devices: int, bad_rate: float, seeds: range, console: Console) -> dict[Kind, list[End]]:
    found: dict[Kind, dict[int, End]] = {kind: {} for kind in Kind}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("rollouts", total=len(Kind) * len(seeds))
        for kind, end in _ends(devices, bad_rate, seeds):
            found[kind][end.seed] = end
            progress.advance(bar)
    return {kind: [found[kind][seed] for seed in seeds] for kind in Kind}


def _ends(devices: int, bad_rate: float, seeds: range) -> Iterator[tuple[Kind, End]]:
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        tasks = {
            pool.submit(run, devices, Harm(kind, bad_rate), seed): kind
            for seed in seeds
            for kind in Kind
        }
        for task in as_completed(tasks):
            yield tasks[task], task.result()


def _write(report: Path, drill: Drill) -> None:
    try:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(drill), indent=1) + b"\n")
    except OSError as error:
        raise Refused(f"the report {report} cannot be written: {error}") from error
