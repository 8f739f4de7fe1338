"""A month of the value ledger as files: CSV for spreadsheets, PDF for people."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, TableCellFillMode
from fpdf.fonts import FontFace

from cloud.core.evidence import NS
from cloud.core.ledger import Entry, EntryKind
from cloud.web.value_ports import Report

PDF_LINES_MAX = 300
"""A PDF is read by people; the CSV holds all lines."""
COLUMNS = (
    "time_utc", "kind", "count", "amount", "currency", "case", "device", "site", "machine_type",
    "tier", "text", "assumptions", "takes_back", "key",
)  # fmt: skip
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes text that begins so for a formula, and runs it."""
WORDS = {
    EntryKind.VISIT_AVOIDED: ("Visits avoided", ""),
    EntryKind.DOWNTIME_AVOIDED: ("Downtime avoided", "h"),
    EntryKind.FIRST_TIME_FIX: ("First-time fixes", ""),
    EntryKind.VISIT_WITHDRAWN: ("Visits called off, a remedy credited", ""),
    EntryKind.UNCREDITED: ("Recovered, no remedy credited", ""),
    EntryKind.SELF_CLEARED: ("Cleared by themselves", ""),
    EntryKind.REVERSED: ("Lines taken back", ""),
}
NO_CREDIT = (EntryKind.UNCREDITED, EntryKind.SELF_CLEARED)
RULE = (
    "A visit counts as avoided only if the machine recovered by a remedy that fresh telemetry "
    "proved, and no visit was ordered. Downtime counts only with an avoided visit, as the hours "
    "that a visit is assumed to take less the hours that the case took. What cleared by itself "
    "counts nothing. When the fault returns, every credit is taken back, in the month of the "
    "return. The whole rule is docs/value.md, and its tests read like it."
)
INK, MUTED, LINE, HEAD = (23, 33, 43), (88, 103, 118), (224, 230, 236), (238, 242, 245)


def csv_file(report: Report) -> bytes:
    """Return all lines of a month, in UTF-8 with the mark that spreadsheets want."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(map(_csv_row, report.entries))
    return out.getvalue().encode("utf-8-sig")


def _csv_row(entry: Entry) -> list[str]:
    texts = (
        entry.currency, entry.case_id, entry.device, entry.site, entry.machine_type, entry.tier,
        entry.text, _assumed(entry.assumptions), entry.reverses, entry.key,
    )  # fmt: skip
    amount = "" if entry.amount is None else f"{entry.amount:.2f}"
    figures = [_time(entry.at_ns), entry.kind.value, f"{entry.count:.4g}", amount]
    return [*figures, *map(_harmless, texts)]


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULAS) else text


def _assumed(assumptions: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in assumptions.items())


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS, UTC).strftime("%Y-%m-%d %H:%M")


def pdf_file(report: Report) -> bytes:
    """Return a month on a few pages of A4."""
    paper = _Paper(report.month)
    paper.add_page()
    paper.say(f"Value report {report.month}", 20, bold=True)
    ended = f"{report.cases} cases ended in this month (UTC)."
    paper.say(f"{ended} Figures are sums of the lines below, what was taken back subtracted.", 10)
    _sums(paper, report)
    paper.say("What is assumed", 13, bold=True)
    _assumptions(paper, report)
    paper.say("How it is counted", 13, bold=True)
    paper.say(RULE, 10)
    paper.say("Lines", 13, bold=True)
    _lines(paper, report)
    if paper.replaced:
        paper.say("? stands for a character that this font cannot draw; the CSV has it.", 9)
    return bytes(paper.output())


class _Paper(FPDF):
    """A4 with a page number, in a font that every reader has."""

    def __init__(self, month: str) -> None:
        super().__init__()
        self.replaced = False
        self.set_title(f"Farfix value report {month}")
        self.set_margin(18)
        self.set_auto_page_break(auto=True, margin=20)

    def footer(self) -> None:
        """Number the page."""
        self.set_y(-14)
        self.set_font("Helvetica", size=8)
        self.set_text_color(MUTED)
        self.cell(0, 5, f"{self.title}, page {self.page_no()}")

    def drawable(self, text: str) -> str:
        """Return text as the font can draw it; what it cannot becomes a question mark."""
        shown = "".join(c if c.isprintable() else " " for c in text)
        drawn = shown.encode("latin-1", "replace").decode("latin-1")
        self.replaced = self.replaced or drawn != shown
        return drawn

    def say(self, text: str, size: int, *, bold: bool = False) -> None:
        """Write a paragraph."""
        self.set_font("Helvetica", "B" if bold else "", size)
        self.set_text_color(INK if bold or size > 9 else MUTED)
        drawn = self.drawable(text)
        self.multi_cell(0, size * 0.5, drawn, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2.5)

    def rows(
        self, rows: Sequence[tuple[str, ...]], widths: tuple[int, ...], right: set[int]
    ) -> None:
        """Draw a table; its first row is the heading."""
        self.set_font("Helvetica", size=8.5)
        self.set_text_color(INK)
        self.set_draw_color(LINE)
        with self.table(
            col_widths=widths,
            text_align=tuple("RIGHT" if i in right else "LEFT" for i in range(len(widths))),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            cell_fill_mode=TableCellFillMode.NONE,
            headings_style=FontFace(emphasis="BOLD", fill_color=HEAD),
            line_height=4.6,
            padding=(1, 1.5),
        ) as table:
            for row in rows:
                table.row([self.drawable(text) for text in row])
        self.ln(5)


def _sums(paper: _Paper, report: Report) -> None:
    rows = [("", "Count", f"Amount in {report.prices.currency}")]
    for kind, (word, unit) in WORDS.items():
        amount = report.amounts.get(kind.value)
        count = f"{report.counts.get(kind.value, 0):.4g} {unit}".strip()
        worth = "" if amount is None else f"{amount:,.2f}"
        rows.append((word, count, "no credit" if kind in NO_CREDIT else worth))
    if any(report.amounts.values()):
        rows.append(("Sum", "", f"{sum(report.amounts.values()):,.2f}"))
    paper.rows(rows, (90, 40, 44), {1, 2})


def _assumptions(paper: _Paper, report: Report) -> None:
    prices, currency = report.prices, report.prices.currency
    rows = [("Set by the operator; every line says what it was counted with", "")]
    for word, value, unit in (
        ("One avoided visit", prices.visit, currency),
        ("Hours until a visit has repaired a machine", prices.downtime_h_per_visit, "h"),
        ("One hour of a machine that stands", prices.downtime_per_hour, currency),
    ):
        rows.append((word, "not set: nothing is priced" if value is None else f"{value:g} {unit}"))
    paper.rows(rows, (120, 54), {1})


def _lines(paper: _Paper, report: Report) -> None:
    if not report.entries:
        paper.say("Nothing was counted in this month.", 10)
        return
    rows = [("Time (UTC)", "What", "Count", "Amount", "Case and reason")]
    for entry in report.entries[:PDF_LINES_MAX]:
        amount = "" if entry.amount is None else f"{entry.amount:,.2f} {entry.currency}"
        what = entry.kind.value.replace("_", " ")
        said = f"{entry.case_id}: {entry.text}"
        rows.append((_time(entry.at_ns), what, f"{entry.count:.4g}", amount, said))
    paper.rows(rows, (28, 29, 13, 26, 78), {2, 3})
    left = len(report.entries) - PDF_LINES_MAX
    if left > 0:
        paper.say(f"{left} more lines are in the CSV.", 10)
