"""Releases: what is in the signed repository, who may take it, and until when it is believed."""

from collections import Counter
from collections.abc import Sequence

from nicegui import ui

from cloud.adapters.clock import PlantClock
from cloud.core import stages
from cloud.core.published import Kept, RepositoryState
from cloud.core.rollout_states import Candidate, Selection
from cloud.web import rollout_words, words
from cloud.web.console.frame import frame, live, load
from cloud.web.console.parts import Section, Text, box, dot, empty, link, pill
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Rollouts

EVERY_S = 10.0
WARN_DAYS = {"timestamp": 3, "snapshot": 3, "targets": 30, "root": 30}
"""So long before a role's metadata expires people are told: publishing takes minutes, signing
targets or a root takes people with keys."""
HELP = {
    "timestamp": "Publish again with 'farfix release publish'.",
    "snapshot": "Publish again with 'farfix release publish'.",
    "targets": "Sign the targets anew with 'farfix release sign', then publish.",
    "root": "Make the next root with 'farfix release rotate', then publish.",
}
REASONS = 4
"""So many reasons are told why machines may not take a release."""


def install(desk: Desk, rollouts: Rollouts) -> None:
    """Register the page."""
    wall = PlantClock()  # metadata expires by the wall clock

    def read() -> tuple[RepositoryState | None, list[tuple[Kept, str]]]:
        found = rollouts.kept()
        types = {kept.release.machine_type for kept in found}
        machines = {name: rollouts.candidates(name) for name in types}
        told = [(kept, takers(kept, machines[kept.release.machine_type])) for kept in found]
        return rollouts.repository(), told

    @ui.page("/releases")
    async def releases_page() -> None:
        with frame(desk, "/releases", "Releases"):
            with box("stack stack-s"):
                Text("Releases", tag="h1")
                Text("Firmware in the signed repository, and which machines may take it.", "muted")
            state_part, listed = Section(box("stack stack-l")), Section(box("stack stack-l"))

            async def refresh() -> None:
                state, found = await load(read)
                now_ns = wall.now_ns()
                state_part.show(
                    repr((state, now_ns // (60 * words.NS))), lambda: _state(state, now_ns)
                )
                listed.show(repr(found), lambda: _releases(found))

            await refresh()
            live(refresh, EVERY_S)


def takers(kept: Kept, machines: Sequence[Candidate]) -> str:
    """Say how many machines may take a release, and why the others may not."""
    if kept.barred:
        return "It is offered to no machine any more."
    able, excluded = stages.eligible(kept.release, Selection(), machines)
    said = f"{len(able)} of {rollout_words.machines(len(machines))} may take it."
    if not excluded:
        return said
    reasons = Counter(excluded.values()).most_common()
    told = [f"{reason} ({count})" for reason, count in reasons[:REASONS]]
    rest = sum(count for _, count in reasons[REASONS:])
    others = [f"other reasons ({rest})"] if rest else []
    return f"{said} Left out: {'; '.join(told + others)}."


def _state(state: RepositoryState | None, now_ns: int) -> None:
    if state is None:
        return
    roles = {
        "timestamp": (state.timestamp_version, state.timestamp_expires_ns),
        "snapshot": (state.snapshot_version, state.snapshot_expires_ns),
        "targets": (state.targets_version, state.targets_expires_ns),
        "root": (state.root_version, state.root_expires_ns),
    }
    for role, (_, expires_ns) in roles.items():
        left_ns = expires_ns - now_ns
        if left_ns < WARN_DAYS[role] * 86400 * words.NS:
            _warning(role, expires_ns, now_ns)
    with box("card facts"):
        for role, (version, expires_ns) in roles.items():
            with box("stack").style("gap: 0"):
                Text(f"{role.capitalize()}, version {version}", "fact-label num")
                verb = "expires" if expires_ns > now_ns else "expired"
                Text(f"{verb} {words.ago(expires_ns, now_ns)}", "fact-value num")
                Text(words.utc(expires_ns), "small muted num")


def _warning(role: str, expires_ns: int, now_ns: int) -> None:
    gone = expires_ns <= now_ns
    with box("card next warning").props('role="alert"'), box("attempt"):
        dot("bad" if gone else "warn", "event_busy" if gone else "schedule")
        with box():
            verb = "has expired" if gone else f"expires {words.ago(expires_ns, now_ns)}"
            Text(f"The {role} metadata {verb}", tag="h2")
            what = (
                "No machine believes the repository, so nothing is offered. "
                if gone
                else "From then on no machine believes the repository. "
            )
            Text(what + HELP[role], "wrap")


def _releases(found: list[tuple[Kept, str]]) -> None:
    if not found:
        empty(
            "inventory_2",
            "No releases yet",
            "Sign an image with 'farfix release sign', then 'farfix release publish' it here.",
        )
        return
    for kept, told in found:
        with box("card stack"):
            _release(kept, told)


def _release(kept: Kept, told: str) -> None:
    release = kept.release
    with box("machine-top"):
        with box("stack stack-s"):
            Text(
                f"{words.phrase(release.machine_type)} {release.version}", tag="h2", classes="wrap"
            )
            parts = [str(release.format), rollout_words.size(release.size_bytes)]
            if release.hardware:
                parts.append("hardware " + ", ".join(str(h) for h in release.hardware))
            if release.min_version != "0.0.0":
                parts.append(f"from version {release.min_version}")
            if release.cures:
                parts.append("cures " + ", ".join(words.phrase(c).lower() for c in release.cures))
            Text(" · ".join(parts), "muted small wrap")
        with box("row"):
            if release.high_risk:
                pill("warn", "priority_high", "High risk")
            if kept.barred:
                pill("bad", "block", "Barred")
            else:
                target = f"/rollouts/new?machine_type={release.machine_type}"
                link("Roll out", f"{target}&version={release.version}", "link")
    if kept.barred:
        Text(kept.barred, "tone-bad wrap")
    if release.notes:
        Text(release.notes, "wrap")
    Text(told, "small wrap")
    Text(f"sha256 {release.sha256}", "mono muted clip sha")
