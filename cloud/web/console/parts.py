"""Building blocks of the console's pages. Texts are set as text, never as markup."""

from collections.abc import Callable, Hashable, Sequence

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from cloud.core.states import Phase
from cloud.web.schemas import Status
from contract.faults import Severity

TONE = {
    Status.APPROVAL: ("ask", "back_hand"),
    Status.TICKET: ("bad", "engineering"),
    Status.SILENT: ("bad", "cloud_off"),
    Status.FIXING: ("info", "build_circle"),
    Status.ALARM: ("warn", "warning_amber"),
    Status.LEARNING: ("calm", "school"),
    Status.UNJUDGED: ("calm", "help_outline"),
    Status.WAITING: ("calm", "hourglass_empty"),
    Status.HEALTHY: ("ok", "check_circle"),
}
"""Colour and icon of each status; the word stands beside them."""


class Text(TextElement):
    """A text in any HTML tag; Vue escapes it."""

    def __init__(self, text: str = "", classes: str = "", tag: str = "div") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)


def box(classes: str = "", tag: str = "div") -> Element:
    """Return an empty element with CSS classes."""
    return ui.element(tag).classes(classes)


def set_prop(element: Element, name: str, value: str) -> None:
    """Set an attribute, and send nothing if it is set already."""
    if element.props.get(name) != value:
        element.props[name] = value


def link(text: str, target: str, classes: str = "link") -> Text:
    """Return a link to one of our own pages."""
    made = Text(text, classes, tag="a")
    made.props["href"] = target
    return made


class Pill:
    """A state as icon, word and colour, which can be set anew without being rebuilt."""

    def __init__(self) -> None:
        self._box = box("pill")
        with self._box:
            self._icon = ui.icon("circle")
            self._text = Text(tag="span")
        self._tone = ""

    def set(self, tone: str, icon: str, text: str) -> None:
        """Show a state."""
        self._text.text = text
        self._icon.name = icon
        if tone != self._tone:
            self._box.classes(remove=f"tone-{self._tone}", add=f"tone-{tone}")
            self._tone = tone


def pill(tone: str, icon: str, text: str) -> None:
    """Show a state that stays."""
    Pill().set(tone, icon, text)


def empty(icon: str, title: str, text: str) -> None:
    """Say friendly that there is nothing here, and why."""
    with box("empty"):
        ui.icon(icon)
        Text(title, tag="h2")
        Text(text)


def dot(tone: str, icon: str) -> None:
    """Show a round icon in a tone."""
    with box(f"dot tone-{tone}"):
        ui.icon(icon)


def table(heads: list[str], rows: Sequence[tuple[str, ...]], mono: set[int]) -> None:
    """Show rows of text; the columns in ``mono`` hold code."""
    with box("grid", tag="table"):
        with box(tag="tr"):
            for head in heads:
                Text(head, tag="th")
        for row in rows:
            with box(tag="tr"):
                for i, text in enumerate(row):
                    Text(text, tag="td", classes="mono wrap" if i in mono else "wrap")


def cell(head: str, classes: str = "") -> Element:
    """Return a cell that knows its column: on a phone a table of class ``folds`` tells it."""
    made = box(classes, tag="td")
    made.props["data-label"] = head
    return made


class Section:
    """A part of a page that is built anew only when what it shows has changed."""

    def __init__(self, parent: Element) -> None:
        self._parent = parent
        self._shown: Hashable = None

    def show(self, content: Hashable, build: Callable[[], None]) -> None:
        """Build the part, unless this content is what it shows already."""
        if content == self._shown:
            return
        self._shown = content
        self._parent.clear()
        with self._parent:
            build()


SEVERITY_TONE = {
    Severity.LOW: ("calm", "arrow_downward"),
    Severity.MEDIUM: ("warn", "drag_handle"),
    Severity.HIGH: ("warn", "arrow_upward"),
    Severity.CRITICAL: ("bad", "priority_high"),
}
PHASE_TONE: dict[str, tuple[str, str]] = {
    Phase.OBSERVING: ("warn", "visibility"),
    Phase.AWAITING_APPROVAL: ("ask", "back_hand"),
    Phase.HOLDING: ("calm", "pause_circle"),
    Phase.FIXING: ("info", "build_circle"),
    Phase.VERIFYING: ("info", "troubleshoot"),
    Phase.DISPATCHED: ("bad", "engineering"),
    Phase.RECOVERED: ("ok", "verified"),
    Phase.SELF_CLEARED: ("ok", "self_improvement"),
    Phase.DISMISSED: ("calm", "notifications_off"),
    Phase.CLOSED: ("ok", "task_alt"),
    Phase.WITHDRAWN: ("ok", "undo"),
}
