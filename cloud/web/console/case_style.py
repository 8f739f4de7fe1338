"""The look of cases, tickets, playbooks and commands, beyond what all pages share."""

from pathlib import Path

from nicegui import ui

SHEET = Path(__file__).with_name("cases.css").read_text(encoding="utf-8")


def style() -> None:
    """Give it to the page under work."""
    ui.add_css(SHEET)
