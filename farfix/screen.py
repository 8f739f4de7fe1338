"""What long commands show while they run, and the report that they leave."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress
from rich.text import Text

from contract.errors import Malformed

PLAIN_WIDTH = 150


class Screen:
    """A terminal, or a plain stream of lines."""

    def __init__(self, *, live: bool) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.console = Console(highlight=False, soft_wrap=not live, width=width)
        self._moving: Live | Progress | None = None
        """What changes in its place, from entering to `freeze`."""
        if live:
            self._moving = Live(console=self.console, refresh_per_second=4)

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        self.console.print(Text(text, style))

    def draw(self, *what: RenderableType) -> bool:
        """Draw this in place of what was drawn before; return whether that is possible here."""
        if isinstance(self._moving, Live):
            self._moving.update(Group(*what))
            return True
        return False

    def verdict(self, problems: Iterable[str], fine: str) -> None:
        """Print what is not as it should be, or that everything is."""
        good = True
        for problem in problems:
            good = False
            self.say(f"NOT AS IT SHOULD BE: {problem}", "bold red")
        if good:
            self.say(fine, "bold green")

    def freeze(self) -> None:
        """Leave what moved as it is; what follows is plain."""
        if self._moving is not None:
            self._moving.stop()
            self._moving = None

    def __enter__(self) -> Self:
        if self._moving is not None:
            self._moving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.freeze()


def check_report(file: Path | None) -> None:
    """Refuse a report's place before the work is done.

    Raises:
        Malformed: its folder does not exist.
    """
    if file is not None and not file.absolute().parent.is_dir():
        raise Malformed(f"cannot write {file}: there is no such folder")


def write_report(file: Path, report: msgspec.Struct) -> None:
    """Write a report as JSON for people and programs."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
