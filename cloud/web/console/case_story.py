"""What happened in a case, and what it may be."""

from urllib.parse import quote

from cloud.web import words
from cloud.web.console.parts import Text, box, dot, link
from cloud.web.console.tongue import span, t, told
from cloud.web.schemas import CaseDetail, HypothesisView, ReportView, TimelineEntry

LEADING = 3
HYPOTHESES, LIKELY, EVIDENCE = 4, 0.02, 5
"""So many explanations are shown, if at least so probable, each with so much evidence."""
KIND_TONE = {
    "fault": ("warn", "warning_amber"),
    "person": ("ask", "person"),
    "hold": ("calm", "pause_circle"),
    "command": ("info", "build_circle"),
    "answer": ("info", "reply"),
    "evidence": ("calm", "troubleshoot"),
    "ticket": ("bad", "engineering"),
    "end": ("ok", "verified"),
}


def crumbs(case: CaseDetail) -> None:
    """Show where the page stands."""
    with box("crumbs", tag="nav"):
        link(t("Fleet"), "/", "")
        Text("/", tag="span")
        link(case.machine_title, f"/machines/{case.device}", "")
        Text("/", tag="span")
        Text(t("Case"), tag="span")


def timeline(entries: list[TimelineEntry], opened_ns: int) -> None:
    """Show what happened, in its order."""
    for entry in entries:
        with box(tag="li"):
            dot(*KIND_TONE.get(entry.kind, ("calm", "circle")))
            with box():
                Text(told(entry.text), "story-text wrap")
                _seen(entry)
                time = t("{time} UTC", time=words.clock(entry.at_ns))
                offset = span((entry.at_ns - opened_ns) / words.NS)
                after = t("{span} after detection", span=offset)
                Text(f"{time} · {after}" if entry.at_ns > opened_ns else time, "story-time")


def _seen(entry: TimelineEntry) -> None:
    """Say which signals deviated then, and the score."""
    if entry.score is None and not entry.deviations:
        return
    with box("seen num"):
        if entry.score is not None:
            Text(t("Deviation {score} (alarm at 1)", score=f"{entry.score:.2f}"))
        for d in entry.deviations[:LEADING]:
            Text(told(words.deviation(d)), "wrap")
        more = len(entry.deviations) - LEADING
        if more > 0:
            Text(t("and {count} more", count=more))


def hypotheses(found: list[HypothesisView], checks: list[str]) -> None:
    """Show the likely explanations, each with what speaks for it."""
    said = found[0].evidence if found else []
    for check in [check for check in checks if check not in said]:
        with box("attempt").style("margin-bottom: 12px"):
            dot("warn", "sensors_off")
            with box():
                Text(t("The sensor or the link is to blame"), tag="h3")
                Text(told(check), "wrap")
    shown = [h for h in found[:HYPOTHESES] if h.probability >= LIKELY] or found[:1]
    for hypothesis in shown:
        with box("hypothesis"):
            with box("chart-head flush"):
                Text(told(hypothesis.title), tag="h3")
                Text(words.percent(hypothesis.probability), "chart-value")
            with box("meter tone-info"):
                box("meter-fill").style(f"width: {hypothesis.probability * 100:.0f}%")
            with box("evidence", tag="ul"):
                for sentence in hypothesis.evidence[:EVIDENCE]:
                    Text(told(sentence), tag="li")
    if len(found) > len(shown):
        rest = t(
            "{count} other explanations are less likely than {share}.",
            count=len(found) - len(shown),
            share=words.percent(LIKELY),
        )
        Text(rest, "muted small more")


def report(found: ReportView, key: str | None) -> None:
    """Show what the technician found; photos are kept under the ticket's key."""
    with box("stack stack-s"):
        Text(told(found.finding_text), tag="h3", classes="wrap")
        if not found.resolved:
            Text(t("The machine does not work again yet."), "tone-bad")
        if found.notes:
            Text(found.notes, "wrap")
        for name, lines in (
            (t("Parts replaced"), found.parts),
            (t("Checklist"), found.checklist),
            (t("Cause code"), [found.cause_code] if found.cause_code else []),
            (t("Technician"), [found.technician] if found.technician else []),
        ):
            if lines:
                Text(name, "fact-label")
                for line in lines:
                    Text(line, "wrap")
        if found.photos and key is not None:
            with box("photos"):
                for i, name in enumerate(found.photos, 1):
                    address = f"/api/tickets/{quote(key)}/photos/{quote(name)}"
                    with link("", address, "photo"):
                        shown = box(tag="img")
                        shown.props["src"] = address
                        shown.props["loading"] = "lazy"
                        shown.props["alt"] = t("Photo {number} of the visit", number=i)
