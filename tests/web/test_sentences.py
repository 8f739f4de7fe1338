"""What the core writes is told in Chinese: every sentence has an entry, every entry a speaker."""

import ast
import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from cloud.core import case as life
from cloud.core import ledger, levels, playbook
from cloud.core.states import Case
from cloud.web import words
from cloud.web.console import sentences
from cloud.web.ticket_views import to_do
from contract import machines
from contract.faults import Direction, Severity
from tests.simulation import rollouts, world

ROOT = Path(sentences.__file__).parents[3]
RUNS = 3
"""What the core puts together from more pieces than this it does not say: the entry is dead."""
PRICES = ledger.Prices(visit=480.0, downtime_per_hour=150.0, downtime_h_per_visit=6.0)
TYPED = (
    "Something is wrong", "Restart", "Recalibrate", "recalibrate", "restart", "derate", "Kim",
    "owner", "not now", "never", "again", "leave it", "Ada", "Grace", "Alan", "lunch", "not today",
    "smells burnt", "pump", "UTC",
)  # fmt: skip
"""What people, machines and installers of the simulated worlds say in words of their own."""
SPEAKERS = (
    "cloud/core/alerts.py", "cloud/core/case.py", "cloud/core/course.py", "cloud/core/ledger.py",
    "cloud/core/levels.py", "cloud/core/limits.py", "cloud/core/moves.py", "cloud/core/people.py",
    "cloud/core/returns.py", "cloud/core/rollout_moves.py", "cloud/core/rollout_order.py",
    "cloud/core/rollout_people.py", "cloud/core/rollout_rules.py", "cloud/core/rollout_tally.py",
    "cloud/core/rules.py", "cloud/core/sensors.py", "cloud/core/stages.py",
    "cloud/core/update_moves.py", "cloud/core/update_proof.py", "cloud/core/update_rules.py",
    "cloud/core/visits.py", "cloud/core/windows.py", "cloud/core/wishes.py",
    "cloud/core/wording.py", "cloud/service/decided.py", "cloud/service/hand.py",
    "cloud/service/hooks.py", "cloud/service/passwords.py", "cloud/service/people.py",
    "cloud/service/releases.py", "cloud/service/rollout_desk.py", "cloud/service/throttle.py",
    "cloud/web/rollout_views.py", "cloud/web/rollout_words.py", "models/checks.py",
    "models/diagnose.py", "models/learned.py",
)  # fmt: skip
"""Modules whose sentences people read in the console."""
MUTE = re.compile(
    r"which the table does not declare|stored case|stored event|saved labels|"
    r"hands a .* to a rule|no p-values|restore_h|pause_max_h|"
    r"days in calendar|withdraws a visit|nobody is needed there|updates came for|"
    r"the visit of ticket|by api token|was another order's"
)
"""What only programmers, whoever starts the gateway, and dispatch's own system read."""


def english(text: str) -> str:
    """What is left in English, without times, numbers and names."""
    said = sentences.chinese(text)
    for word in TYPED:
        said = said.replace(word, "")
    return " ".join(re.findall(r"[A-Za-z]{2,}", re.sub(r"[\w~-]*\d[\w~.-]*", "", said)))


class Heard(world.World):
    """A world that writes down what is said in it."""

    def __init__(self, seed: int) -> None:
        network = world.NETWORKS["normal" if seed % 2 else "nearly_dead"]
        super().__init__(seed, network, forget_ids=False, tell=False)
        self.heard: set[str] = set()
        self.before: dict[str, Case] = {}

    def do(self, effects: tuple[life.Effect, ...]) -> None:
        now = self.cases[-1]
        lines = ledger.entries(self.before.get(now.case_id), now, "B", PRICES)
        self.before[now.case_id] = now
        texts = {effect.text.strip() for effect in effects if isinstance(effect, life.Note)}
        self.heard |= {text for text in texts if not text.endswith(":")}  # plans without a reason
        self.heard |= {line.text for line in lines}
        super().do(effects)


def test_whatever_a_case_says_is_told_in_chinese() -> None:
    heard: set[str] = set()
    for seed in range(40):
        one = Heard(seed)
        one.run()
        heard |= one.heard
    assert len(heard) > 100
    assert {text: english(text) for text in heard if english(text)} == {}


def test_whatever_a_rollout_says_is_told_in_chinese() -> None:
    lines = [line for seed in range(12) for line in rollouts.run(seed).told]
    heard = {line.split(": ", 2)[2] for line in lines if line.count(": ") > 1}
    heard = {re.sub(r"\w+ of m\d+", "-.", text) for text in heard}  # an installer's own words
    assert len(heard) > 50
    assert {text: english(text) for text in heard if english(text)} == {}


def test_what_technicians_do_and_mind_is_told_in_chinese() -> None:
    found = set()
    for kind in machines.library().values():
        for fault in kind.faults:
            found |= {*fault.safety_notes, *to_do(kind, fault.code), words.phrase(fault.code)}
        found |= {words.phrase(remedy.name) for remedy in kind.remedies}
    exact = sentences.catalogue() | sentences.entries(sentences.SENTENCES)
    assert sorted(found - set(exact)) == []


def parts(node: ast.AST) -> Iterator[str]:
    """Texts below a node as they are written, docstrings, logs and bugs left out."""
    match node:
        case (
            ast.Expr(value=ast.Constant()) | ast.Raise(exc=ast.Call(func=ast.Name(id="ValueError")))
        ):
            return
        case ast.Raise(exc=ast.Call(func=ast.Name(id="TypeError" | "AssertionError"))):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
            return
        case ast.JoinedStr():
            yield "\0".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    yield from parts(value.value)
        case ast.Constant(value=str()):
            yield str(node.value)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from parts(child)


@cache
def written(path: Path) -> list[str]:
    return list(parts(ast.parse(path.read_text(encoding="utf-8"))))


def phrases(text: str) -> Iterator[str]:
    """Pieces of a text without what stands at its values, and without stops between them."""
    for piece in re.split(r"\0|\{\w*\}|\d+|[.:;,!?()']", text):
        if len(piece.split()) > 1:
            yield piece.strip()


@pytest.mark.parametrize("name", SPEAKERS)
def test_every_phrase_of_the_core_is_in_the_catalogue(name: str) -> None:
    known = "\n".join([*sentences.catalogue(), *sentences.entries(sentences.SENTENCES)])
    missing = [
        piece
        for text in written(ROOT / name)
        if not MUTE.search(text)
        for piece in phrases(text)
        if len(piece.split()) > 2 and piece not in known
    ]
    assert missing == []


def test_every_entry_is_said_by_somebody() -> None:
    paths = [*(ROOT / "contract/machines").glob("*.toml"), ROOT / "cloud/playbooks/service.toml"]
    for folder in ("cloud", "models", "edge", "contract"):
        paths += [*(ROOT / folder).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    said = re.sub(r'"\s*\n\s*f?"|\\\n', "", code).replace("_", " ")
    unsaid = {
        piece
        for text in sentences.entries(sentences.SENTENCES)
        for piece in phrases(text)
        if runs(piece.replace("_", " ").split(), said) > RUNS and words.phrase(piece) not in codes()
    }
    assert unsaid == set()


def runs(spoken: list[str], said: str) -> int:
    """From how many pieces of the code a phrase is put together, each as long as can be."""
    count = 0
    while spoken:
        lengths = range(len(spoken), 0, -1)
        longest = next((n for n in lengths if " ".join(spoken[:n]) in said), None)
        if longest is None:
            return RUNS + 1
        spoken, count = spoken[longest:], count + 1
    return count


@cache
def codes() -> set[str]:
    library = machines.library().values()
    faults = {words.phrase(fault.code) for kind in library for fault in kind.faults}
    return faults | {words.phrase(r.name) for kind in library for r in kind.remedies}


def test_an_entry_and_its_chinese_have_the_same_values() -> None:
    for text, said in sentences.entries(sentences.SENTENCES).items():
        pieces = list(string.Formatter().parse(text))
        names = [name for _, name, _, _ in pieces if name]
        found = [name for _, name, _, _ in string.Formatter().parse(said) if name]
        assert sorted(names) == sorted(found), text
        between = [literal for literal, name, _, _ in pieces[1:] if name]
        assert all(between), f"{text!r}: two values side by side tell nothing apart"


def test_no_two_files_tell_a_sentence_differently() -> None:
    paths = sorted(sentences.SENTENCES.glob("*.toml"))
    count = sum(path.read_text().count('" = "') for path in paths)
    assert count == len(sentences.entries(sentences.SENTENCES)), "one text stands in two files"


@pytest.mark.parametrize("tier", get_args(playbook.Tier))
def test_what_is_promised_is_told_in_chinese(tier: playbook.Tier) -> None:
    policy = playbook.shipped(machines.library()).policy
    for severity in Severity:
        now = (severity, rollouts.T0_NS)
        level = policy.levels[tier]
        given = levels.promise(tier, level, policy.calendars, now, "UTC").service_level
        assert english(given) == "", sentences.chinese(given)
        assert f"{tier} 级" in sentences.chinese(given)


def test_a_time_in_full_is_told_as_chinese_pages_write_it() -> None:
    said = sentences.chinese(words.utc(rollouts.T0_NS))
    assert said == f"{datetime.fromtimestamp(rollouts.T0_NS // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def test_what_people_typed_stays_as_they_typed_it() -> None:
    typed = "<b>High</b>"
    said = sentences.chinese(f"ada asked for a visit: {typed}.")
    assert said == f"ada 要求上门服务：{typed}。"  # noqa: RUF001 (Chinese)
    assert sentences.chinese("ada asked for a visit: High.").endswith("High。")
    assert sentences.chinese("J. Doe reported bearing_wear, resolved. High. J. Roe helped.") == (
        "J. Doe 报告：轴承磨损，已解决。High. J. Roe helped."  # noqa: RUF001 (Chinese)
    )


def test_a_sentence_that_nobody_knows_stays_english_and_its_neighbours_do_not() -> None:
    said = sentences.chinese("It was stopped. Nobody ever wrote this. It is done.")
    assert said == "推送已停止。Nobody ever wrote this. 推送已完成。"


@pytest.mark.parametrize("direction", Direction)
def test_a_deviation_is_told_with_its_signal(direction: Direction) -> None:
    side = {"above": "偏高", "below": "偏低"}[direction]
    said = sentences.chinese(f"Oil filter: 3.1 σ {direction}, 30 °C where 35 is expected")  # noqa: RUF001
    assert said == f"油滤：{side} 3.1 σ，30 °C，预期值 35"  # noqa: RUF001


@pytest.mark.parametrize("text", ["Stopped: " * 220, "'a': " * 390, "x. " * 600, "; " * 900])
def test_hostile_texts_cost_no_more_than_they_may(text: str) -> None:
    left = sentences._Left()
    sentences._sentences_of(text[: sentences.LONGEST], left)
    assert left.depth == sentences.DEPTH_MAX
    assert left.tries >= 0
