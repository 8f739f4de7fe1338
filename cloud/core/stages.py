"""Which machines a release is for, and which of them comes in which stage.

Chance decides who comes when: else the machines without the release would be no measure for those
with it (`models.harm`). The chance is a hash of the rollout's number and the machine's name, so the
same question has the same answer at any time.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence

from cloud.core.rollout_policy import Candidate, Policy, Selection, Stage
from contract.firmware import VERSION_PATTERN, Claims, version_number

_VERSION = re.compile(VERSION_PATTERN, re.ASCII)


def eligible(
    claims: Claims, selection: Selection, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], dict[str, str]]:
    """Return the selected machines that the release is for, and why others are left out."""
    chosen, excluded = [], {}
    for candidate in candidates:
        if not _selected(selection, candidate):
            continue
        reason = _unfit(claims, candidate)
        if reason:
            excluded[candidate.device] = reason
        else:
            chosen.append(candidate)
    return chosen, excluded


def passed(version: str, release: str) -> str:
    """Say why a machine that runs a version does not need the release; empty: it does."""
    if _VERSION.fullmatch(version) is None:
        return f"version {version!r} is not one that releases have" if version else ""
    runs, brings = version_number(version), version_number(release)
    if runs == brings:
        return "runs it already"
    return f"runs a newer version, {version}" if runs > brings else ""


def plan(policy: Policy, chosen: Sequence[Candidate], seed: int) -> list[list[str]]:
    """Return the machines that each stage of the policy adds, in the order of their turns.

    Every stage adds one machine at least while any are left. What no stage reaches is in none.

    Args:
        policy: its stages say how many.
        chosen: machines that the release is for, each once.
        seed: the rollout's number.
    """
    order = drawn(chosen, seed)
    added, done = [], 0
    for stage in policy.stages:
        goal = min(max(_goal(stage, len(order)), done + 1), len(order))
        added.append(order[done:goal])
        done = goal
    return added


def drawn(chosen: Sequence[Candidate], seed: int) -> list[str]:
    """Return the machines in an order by chance of which every beginning is a fair sample.

    The first ones have one machine of every hardware revision, the commonest revision first. From
    there on each revision, and within it each site, has its share of every beginning.
    """
    by_hardware: defaultdict[int, list[Candidate]] = defaultdict(list)
    for candidate in chosen:
        by_hardware[candidate.hardware].append(candidate)
    places: dict[str, tuple[int, float, int]] = {}
    for hardware, machines in by_hardware.items():
        start = _chance(seed, f"hardware {hardware}")
        for i, device in enumerate(_across_sites(machines, seed, hardware)):
            tie = _number(seed, device)
            share = (i + start) / len(machines)
            places[device] = (0, -len(machines), tie) if i == 0 else (1, share, tie)
    return sorted(places, key=lambda device: places[device])


def _across_sites(machines: Sequence[Candidate], seed: int, hardware: int) -> list[str]:
    by_site: defaultdict[str, list[str]] = defaultdict(list)
    for candidate in machines:
        by_site[candidate.site].append(candidate.device)
    places: dict[str, tuple[float, int]] = {}
    for site, devices in by_site.items():
        start = _chance(seed, f"hardware {hardware} site {site}")
        devices.sort(key=lambda device: _number(seed, device))
        for i, device in enumerate(devices):
            places[device] = ((i + start) / len(devices), _number(seed, device))
    return sorted(places, key=lambda device: places[device])


def _goal(stage: Stage, machines: int) -> int:
    if stage.count is not None:
        return stage.count
    return math.ceil(machines * (stage.percent or 0.0) / 100 - 1e-9)


def _selected(selection: Selection, candidate: Candidate) -> bool:
    return (
        (not selection.sites or candidate.site in selection.sites)
        and (not selection.devices or candidate.device in selection.devices)
        and set(selection.labels) <= set(candidate.labels)
        and (not selection.hardware or candidate.hardware in selection.hardware)
        and (not selection.versions or candidate.version in selection.versions)
    )


def _unfit(claims: Claims, candidate: Candidate) -> str:
    if candidate.quarantined:
        return f"in quarantine: {candidate.quarantined}"
    if claims.hardware and candidate.hardware not in claims.hardware:
        known = f"not for hardware revision {candidate.hardware}"
        return known if candidate.hardware else "its hardware revision is not known"
    if not candidate.version:
        return "its version is not known"
    if reason := passed(candidate.version, claims.version):
        return reason
    if version_number(candidate.version) < version_number(claims.min_version):
        return f"runs {candidate.version}, older than {claims.min_version}, which must come first"
    return ""


def _number(seed: int, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=seed.to_bytes(8, "big"))
    return int.from_bytes(digest.digest(), "big")


def _chance(seed: int, text: str) -> float:
    """Return a number from 0 to 1: where in its share a group begins."""
    return _number(seed, f"start of {text}") / 2**64
