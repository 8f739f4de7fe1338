"""``farfix store VERB``: the time-series store."""

from pathlib import Path
from typing import Annotated

import typer

from contract.errors import Malformed

app = typer.Typer(no_args_is_help=True, help="Prepare the time-series store.")


@app.callback()
def _group() -> None:
    """Keep ``init`` a verb of its own."""


@app.command()
def init(  # noqa: PLR0917 - typer makes options of them
    url: Annotated[str, typer.Option(help="For example http://127.0.0.1:8086.")],
    kind: Annotated[str, typer.Option(help="influx1, influx2 or influx3.")],
    database: Annotated[str, typer.Option(help="Database, or bucket.")] = "farfix",
    org: Annotated[str, typer.Option(help="Organisation; only 2.x has them.")] = "farfix",
    keep_days: Annotated[
        int, typer.Option(min=2, max=3650, help="What was measured is kept so long.")
    ] = 90,
    token_file: Annotated[Path | None, typer.Option(help="File with an admin's token.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Whose certificates to believe.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
) -> None:
    """Set up database, retention and hourly means; may be repeated."""
    from farfix import store_init  # noqa: PLC0415 - verbs load only what they need

    kinds: dict[str, store_init.Kind] = {
        "influx1": "influx1", "influx2": "influx2", "influx3": "influx3",
    }  # fmt: skip
    if kind not in kinds:
        raise Malformed(f"{kind!r} is no kind of store; there are: {', '.join(kinds)}")
    try:
        token = token_file.read_text().strip() if token_file else ""
    except OSError as error:
        raise Malformed(f"{token_file} cannot be read: {error.strerror}") from error
    order = store_init.Order(
        url=url, kind=kinds[kind], database=database, org=org, keep_days=keep_days, token=token,
        ca_file=ca_file,
    )  # fmt: skip
    store_init.run(order, dry_run=dry_run, say=print)
