"""Releases: what is in the signed repository, who may take it, and until when it is believed."""

from collections import Counter
from collections.abc import Sequence

from cloud.adapters.clock import PlantClock
from cloud.core import stages
from cloud.core.people import Role
from cloud.core.published import Kept, RepositoryState
from cloud.core.rollout_states import Candidate, Selection
from cloud.web import rollout_words, words
from cloud.web.console import tongue, viewer
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, dot, empty, link, pill
from cloud.web.console.rollout_parts import machines as count_of
from cloud.web.console.tongue import later, t, told
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Rollouts

EVERY_S = 10.0
WARN_DAYS = {"timestamp": 3, "snapshot": 3, "targets": 30, "root": 30}
"""So long before a role's metadata expires people are told: publishing takes minutes, signing
targets or a root takes people with keys."""
HELP = {
    "timestamp": later("Publish again with 'farfix release publish'."),
    "snapshot": later("Publish again with 'farfix release publish'."),
    "targets": later("Sign the targets anew with 'farfix release sign', then publish."),
    "root": later("Make the next root with 'farfix release rotate', then publish."),
}
REASONS = 4
"""So many reasons are told why machines may not take a release."""


def install(desk: Desk, rollouts: Rollouts) -> None:
    """Register the page."""
    wall = PlantClock()  # metadata expires by the wall clock

    def read() -> tuple[RepositoryState | None, list[tuple[Kept, list[Candidate]]]]:
        found = rollouts.kept()
        types = {kept.release.machine_type for kept in found}
        machines = {name: rollouts.candidates(name) for name in types}
        return rollouts.repository(), [(k, machines[k.release.machine_type]) for k in found]

    @page_at("/releases")
    async def releases_page() -> None:
        with frame(desk, "/releases", t("Releases")):
            with box("stack stack-s"):
                Text(t("Releases"), tag="h1")
                about = t("Firmware in the signed repository, and which machines may take it.")
                Text(about, "muted")
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
        return t("It is offered to no machine any more.")
    able, excluded = stages.eligible(kept.release, Selection(), machines)
    total = count_of(len(machines))
    said = t("{able} of {machines} may take it.", able=len(able), machines=total)
    if not excluded:
        return said
    reasons = Counter(excluded.values()).most_common()
    why = [f"{told(reason)} ({count})" for reason, count in reasons[:REASONS]]
    rest = sum(count for _, count in reasons[REASONS:])
    others = [t("other reasons ({count})", count=rest)] if rest else []
    return f"{said} {t('Left out: {reasons}.', reasons='; '.join(why + others))}"


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
                title = t("{role}, version {version}", role=role.capitalize(), version=version)
                Text(title, "fact-label num")
                ago = tongue.ago(expires_ns, now_ns)
                left = t("expires {ago}", ago=ago)
                Text(left if expires_ns > now_ns else t("expired {ago}", ago=ago), "fact-value num")
                Text(tongue.utc(expires_ns), "small muted num")


def _warning(role: str, expires_ns: int, now_ns: int) -> None:
    gone = expires_ns <= now_ns
    with box("card next warning").props('role="alert"'), box("attempt"):
        dot("bad" if gone else "warn", "event_busy" if gone else "schedule")
        with box():
            ago = tongue.ago(expires_ns, now_ns)
            if gone:
                title = t("The {role} metadata has expired", role=role)
                what = t("No machine believes the repository, so nothing is offered.")
            else:
                title = t("The {role} metadata expires {ago}", role=role, ago=ago)
                what = t("From then on no machine believes the repository.")
            Text(title, tag="h2")
            Text(f"{what} {told(HELP[role])}", "wrap")


def _releases(found: list[tuple[Kept, list[Candidate]]]) -> None:
    if not found:
        empty(
            "inventory_2",
            t("No releases yet"),
            t("Sign an image with 'farfix release sign', then 'farfix release publish' it here."),
        )
        return
    for kept, machines in found:
        with box("card stack"):
            _release(kept, takers(kept, machines))


def _release(kept: Kept, who: str) -> None:
    release = kept.release
    with box("machine-top"):
        with box("stack stack-s"):
            kind = told(words.phrase(release.machine_type))
            Text(f"{kind} {release.version}", tag="h2", classes="wrap")
            parts = [str(release.format), rollout_words.size(release.size_bytes)]
            if release.hardware:
                known = ", ".join(str(h) for h in release.hardware)
                parts.append(t("hardware {revision}", revision=known))
            if release.min_version != "0.0.0":
                parts.append(t("from version {version}", version=release.min_version))
            if release.cures:
                cured = ", ".join(told(words.phrase(c)).lower() for c in release.cures)
                parts.append(t("cures {faults}", faults=cured))
            Text(" · ".join(parts), "muted small wrap")
        with box("abreast"):
            if release.high_risk:
                pill("warn", "priority_high", t("High risk"))
            if kept.barred:
                pill("bad", "block", t("Barred"))
            elif viewer.allowed(Role.ENGINEER):
                target = f"/rollouts/new?machine_type={release.machine_type}"
                link(t("Roll out"), f"{target}&version={release.version}", "link nowrap")
    if kept.barred:
        Text(told(kept.barred), "tone-bad wrap")
    if release.notes:
        Text(release.notes, "wrap")
    Text(who, "small wrap")
    Text(f"sha256 {release.sha256}", "mono muted clip sha")
