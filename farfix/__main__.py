"""The command line: ``farfix VERB``. Each verb loads only what it needs.

Exit codes: 0 all well, 1 it did not work, 2 what was asked for makes no sense (options, files).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from contract.errors import FarfixError, Malformed
from farfix import drill_commands as drill
from farfix import release_commands, rollout_commands, store_commands
from farfix.compiled import find_cache

app = typer.Typer(
    name="farfix",
    help="Find machines going wrong, repair them remotely, verify, and dispatch only what is left.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(release_commands.app, name="release")
app.add_typer(rollout_commands.app, name="rollout")
app.add_typer(drill.app, name="drill")
app.add_typer(store_commands.app, name="store")

File = Annotated[Path, typer.Option(exists=True, dir_okay=False, readable=True)]


@app.command()
def edge(config: File) -> None:
    """Run the edge agent beside the machines."""
    from edge.__main__ import main as run  # noqa: PLC0415 - verbs load only what they need

    run(config)


@app.command()
def cloud(config: File) -> None:
    """Run the gateway in the service centre."""
    find_cache()
    from cloud.__main__ import main as run  # noqa: PLC0415 - verbs load only what they need

    run(config)


@app.command()
def sim(fleet: File) -> None:
    """Run simulated machines that can be broken on purpose."""
    from firmware_sim.__main__ import main as run  # noqa: PLC0415 - verbs load only what they need

    run(fleet)


@app.command()
def demo(
    minutes: Annotated[float, typer.Option(min=1, max=120, help="How long to run.")] = 6,
    machines: Annotated[int, typer.Option(min=3, max=60, help="How many machines.")] = 9,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same faults.")] = 7,
    headless: Annotated[bool, typer.Option(help="End when done, with plain lines.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Run the whole product: machines break, are repaired remotely, or get a ticket."""
    find_cache()
    from farfix.demo.run import main as run  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(run(minutes, machines, seed, headless=headless, report_file=report))


@app.command()
def chaos(
    samples: Annotated[
        int, typer.Option(min=1000, max=10_000_000, help="How many to take under faults.")
    ] = 20_000,
    kill: Annotated[str, typer.Option(help="Whom to hit.")] = "edge,broker,cloud,store",
    network: Annotated[str, typer.Option(help="What to do to links.")] = "lossy,partition,slow",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same faults.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Pull plugs at random while samples are taken, and prove that nothing is lost or doubled."""
    find_cache()
    from farfix.chaos import run  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(run.main(run.options(samples, kill, network, seed), report))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Recorded telemetry, one row per instant.")],
    machine_type: Annotated[str, typer.Option(help="What kind of machine recorded it.")],
    device: Annotated[str, typer.Option(help="Name for the machine.")],
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="Times real time.")] = 60,
    commissioning_rows: Annotated[
        int, typer.Option(min=20, help="Healthy rows at the beginning to learn from.")
    ] = 400,
) -> None:
    """Send a recording through MQTT and the whole loop as if it were live."""
    find_cache()
    from farfix.replay import main as run  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(run(file, machine_type, device, speed, commissioning_rows))


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(help="TOML files of any kind.")]) -> None:
    """Check configs, fleet files, machine types and playbooks; say what is wrong and where."""
    from farfix.validate import main as run  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(run(files))


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="A gateway's or agent's config.")] = None,
) -> None:
    """Look for what would keep Farfix from working here, and say what to do about it."""
    from farfix.doctor import main as run  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(run(config))


@app.command()
def rul(
    train: Annotated[Path, typer.Argument(help="CSV of lives that ended by failure.")],
    test: Annotated[Path, typer.Argument(help="CSV of machines in service, same signals.")],
    output: Annotated[Path, typer.Argument(help="CSV to write: unit,rul,low,high.")],
    cap: Annotated[
        float, typer.Option(min=1, max=1e9, help="Highest remaining life to tell apart, cycles.")
    ] = 125,
) -> None:
    """Estimate remaining useful life after each unit's last row.

    Both files: columns unit, cycle (age) and the signals; empty where there is no value. Of ten
    machines one fails before low and one after high; high is inf from the cap on.
    """
    find_cache()
    from farfix.rul import main as run  # noqa: PLC0415 - verbs load only what they need

    run(train, test, output, cap)


@app.command()
def score(
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Healthy rows at the beginning to learn from, not judged."),
    ] = None,
    batch: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="IN OUT", help="Read this CSV, write time,score,alarm to that one."),
    ] = None,
) -> None:
    """Find machines going wrong in CSV rows: columns time and the signals, first line names them.

    Answers each row of standard input with score,alarm before it reads the next; 1 is the alarm
    level. Times are seconds or ISO 8601; a value that is empty or nan is missing. Without --warmup
    the environment variable DETECTOR_WARMUP says how many rows are learned from.
    """
    find_cache()
    from farfix.score import main as run  # noqa: PLC0415 - verbs load only what they need

    run(warmup, batch)


@app.command()
def topic(
    site: str,
    device: str,
    channel: Annotated[str, typer.Argument(help="Which channel.")] = "telemetry",
) -> None:
    """Print a device's MQTT topic; the number in it is the device's partition."""
    from contract import topics  # noqa: PLC0415 - verbs load only what they need

    if channel not in list(topics.Channel):
        raise Malformed(f"{channel!r} is no channel; there are: {', '.join(topics.Channel)}")
    print(topics.build(site, device, topics.Channel(channel)))


@app.command()
def secrets(
    folder: Annotated[Path, typer.Argument(help="Folder to make; nothing is overwritten.")],
) -> None:
    """Make all passwords and keys of an installation, as docker-compose.yml mounts them."""
    from farfix import credentials  # noqa: PLC0415 - verbs load only what they need

    for file in credentials.make(folder):
        print(file)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except FarfixError as error:
        print(f"farfix: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, Malformed) else 1)


if __name__ == "__main__":
    main()
