"""``farfix rollout VERB``: bring releases to machines, from the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cloud.web.rollout_ports import RolloutAction
    from farfix.rollout_api import RolloutApi

app = typer.Typer(no_args_is_help=True, help="Bring a release to machines, stage by stage.")

Gateway = Annotated[str, typer.Option(help="URL of the gateway.")]
TokenFile = Annotated[Path | None, typer.Option(help="Holds the gateway's API token.")]
By = Annotated[str, typer.Option(help="Who decides: your name, for the audit log.")]
Why = Annotated[str, typer.Option(help="In a sentence, for the audit log.")]
Number = Annotated[int, typer.Argument(min=1, help="The rollout's number.")]
OrderFile = Annotated[
    Path | None, typer.Option("--order", help="TOML file with the whole order, for everything.")
]
MachineType = Annotated[str, typer.Option(help="What kind of machine the release is for.")]
Version = Annotated[str, typer.Option(help="The release, for example 1.1.0.")]
Title = Annotated[str, typer.Option(help="What it is for.")]
Stages = Annotated[
    str, typer.Option(help="Machines or percent, all so far together: 5,2%,10%,100%.")
]
Soak = Annotated[str, typer.Option(help="How long each stage is watched, for example 1h.")]


def _many(help_text: str) -> object:
    return typer.Option(default_factory=list, show_default=False, help=f"{help_text}; repeat it.")


Sites = Annotated[list[str], _many("Only machines at this site")]
Labels = Annotated[list[str], _many("Only machines with this label")]
Hardware = Annotated[list[int], _many("Only machines of this hardware revision")]
Devices = Annotated[list[str], _many("Only this machine")]
HERE = "http://127.0.0.1:8080"


@app.command()
def preview(
    *,
    machine_type: MachineType = "",
    version: Version = "",
    site: Sites,
    label: Labels,
    hardware: Hardware,
    device: Devices,
    stages: Stages = "",
    soak: Soak = "",
    order: OrderFile = None,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Say which machines each stage would take, and which are left out. Nothing is begun."""
    from rich.console import Console  # noqa: PLC0415 - verbs load what they need

    from farfix import rollout_order, rollout_report  # noqa: PLC0415 - as above

    given = rollout_order.Given(machine_type, version, site, label, hardware, device, stages, soak)
    with _api(gateway, token_file) as api:
        plan = api.preview(rollout_order.read(order, given))
    rollout_report.tell_preview(plan, Console())


@app.command()
def start(
    *,
    machine_type: MachineType = "",
    version: Version = "",
    site: Sites,
    label: Labels,
    hardware: Hardware,
    device: Devices,
    stages: Stages = "",
    soak: Soak = "",
    title: Title = "",
    order: OrderFile = None,
    by: By,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Begin a rollout; one of high risk waits for a second person."""
    from farfix import rollout_order  # noqa: PLC0415 - verbs load what they need

    given = rollout_order.Given(
        machine_type, version, site, label, hardware, device, stages, soak, title
    )
    with _api(gateway, token_file) as api:
        made = api.start(rollout_order.read(order, given), by)
    print(f"rollout {made.number}: {made.phase_text.lower()}, {made.machines} machines")


@app.command("list")
def list_rollouts(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """List rollouts, the newest first."""
    from rich.console import Console  # noqa: PLC0415 - verbs load what they need

    from farfix import rollout_report  # noqa: PLC0415 - as above

    with _api(gateway, token_file) as api:
        rollout_report.tell_list(api.list(limit), Console())


@app.command()
def show(
    number: Number,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Show how far a rollout is, and which machines are in trouble."""
    from rich.console import Console  # noqa: PLC0415 - verbs load what they need

    from farfix import rollout_report  # noqa: PLC0415 - as above

    with _api(gateway, token_file) as api:
        rollout_report.show(api, number, Console(), watch=watch)


@app.command()
def approve(
    number: Number,
    *,
    by: By,
    why: Why = "",
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Agree to a rollout of high risk, or take up what a case proposes."""
    _decide("approve", number, by=by, why=why, gateway=gateway, token_file=token_file)


@app.command()
def pause(
    number: Number,
    *,
    by: By,
    why: Why = "",
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Begin no further machine; those under way go on."""
    _decide("pause", number, by=by, why=why, gateway=gateway, token_file=token_file)


@app.command()
def resume(
    number: Number,
    *,
    by: By,
    why: Why = "",
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Go on after a pause."""
    _decide("resume", number, by=by, why=why, gateway=gateway, token_file=token_file)


@app.command()
def stop(
    number: Number,
    *,
    by: By,
    why: Why,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Stop it as the gate would: call back, and bring updated machines back."""
    _decide("stop", number, by=by, why=why, gateway=gateway, token_file=token_file)


@app.command()
def cancel(
    number: Number,
    *,
    by: By,
    why: Why,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """End it; machines that were updated stay so."""
    _decide("cancel", number, by=by, why=why, gateway=gateway, token_file=token_file)


@app.command()
def token(
    device: Annotated[str, typer.Argument(help="The machine.")],
    *,
    by: By,
    gateway: Gateway = HERE,
    token_file: TokenFile = None,
) -> None:
    """Make a machine's DDI token, in place of an older one, and print it: this once only."""
    with _api(gateway, token_file) as api:
        print(api.issue_token(device, by).token)


def _decide(
    action: "RolloutAction",
    number: int,
    *,
    by: str,
    why: str,
    gateway: str,
    token_file: Path | None,
) -> None:
    with _api(gateway, token_file) as api:
        moved = api.decide(number, action, by, why)
    print(f"rollout {moved.number}: {moved.phase_text.lower()}. {moved.next_text}")


@contextmanager
def _api(gateway: str, token_file: Path | None) -> Iterator["RolloutApi"]:
    """Connect to the gateway, for a while."""
    from farfix import keys  # noqa: PLC0415 - verbs load what they need
    from farfix.rollout_api import RolloutApi  # noqa: PLC0415 - as above

    token = keys.read_file(token_file, 1000).decode().strip() if token_file else ""
    api = RolloutApi(gateway, token)
    try:
        yield api
    finally:
        api.close()
