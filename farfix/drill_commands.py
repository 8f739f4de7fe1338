"""``farfix drill NAME``: prove promises where things go wrong, and count."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Prove what is promised, and count.")


@app.command()
def rollout(
    devices: Annotated[int, typer.Option(min=50, max=20_000, help="Size of the fleet.")] = 1000,
    bad_rate: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of machines that a bad release harms.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same fleet.")] = 1,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Rollouts of each kind.")] = 20,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Roll good and bad releases out to simulated fleets; count the harmed and false stops."""
    from farfix.drill.rollout import main  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(main(devices, bad_rate, seed, runs, report))


@app.command()
def swupdate(
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Updates under faults.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same faults.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Let unmodified swupdate clients update from a real gateway while things go wrong."""
    from farfix.drill.swupdate import main  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(main(runs, seed, report))


@app.command()
def dispatch(
    cases: Annotated[int, typer.Option(min=1, max=9_999, help="Tickets to deliver.")] = 1000,
    kills: Annotated[int, typer.Option(min=0, max=100, help="SIGKILLs of the gateway.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same failures.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Deliver tickets to a receiver that fails, while the gateway is killed; count openings."""
    from farfix.drill.dispatch import main  # noqa: PLC0415 - verbs load only what they need

    raise typer.Exit(main(cases, kills, seed, report))
