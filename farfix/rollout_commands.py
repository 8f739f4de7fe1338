"""``farfix rollout VERB``: bring releases to machines, from the command line."""

import typer

app = typer.Typer(no_args_is_help=True, help="Bring a release to machines, stage by stage.")
