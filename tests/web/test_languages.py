"""Every text of the console is in the catalogue, and the catalogue holds nothing else."""

import ast
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.web import rollout_words, words
from cloud.web.console import sentences, tongue
from contract import machines
from contract.faults import Severity

CONSOLE = Path(tongue.__file__).parent
PAGES = sorted(CONSOLE.glob("*.py"))
SPOKEN = {"t", "later", "template"}
SHOWN = {
    "Text": (0,), "link": (0,), "button": (0,), "label": (0,), "expansion": (0,), "checkbox": (0,),
    "switch": (0,), "notify": (0,), "page_title": (0,), "not_found": (0,), "tooltip": (0,),
    "option": (0,), "empty": (1, 2), "pill": (2,), "frame": (2,), "input": (0,), "number": (0,),
    "textarea": (0,), "radio": (), "select": (), "table": (0,), "upload": (), "menu_item": (0,),
}  # fmt: skip
"""Whose arguments people read, by their places; labels and placeholders always."""
LABELS = {"label", "placeholder", "title", "message", "hint"}
SAME = {"Farfix", "UTC", "OK", "GET", "API", "CSV", "PDF", "ID", "kB", "MB", "sha"}
"""Words that are the same in every language."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def spoken(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Texts that are given to the tongue."""
    for call in calls(path):
        if name(call) in SPOKEN and call.args:
            text = call.args[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value, call


def holes(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def literals(node: ast.expr) -> Iterator[ast.Constant]:
    """Texts in an expression that are shown as they are written."""
    match node:
        case ast.Constant(value=str()):
            yield node
        case ast.JoinedStr():
            yield from (p for p in node.values if isinstance(p, ast.Constant))
        case ast.IfExp():
            yield from literals(node.body)
            yield from literals(node.orelse)
        case ast.BinOp():
            yield from literals(node.left)
            yield from literals(node.right)
        case ast.BoolOp():
            for value in node.values:
                yield from literals(value)
        case ast.List() | ast.Tuple():
            for value in node.elts:
                yield from literals(value)


def is_word(text: str) -> bool:
    """Whether people would read this as a word of a language."""
    found = "".join(c if c.isalpha() else " " for c in text).split()
    return any(word not in SAME and len(word) > 1 for word in found)


def untold(path: Path) -> Iterator[str]:
    """Texts that go to people past the tongue."""
    for node in ast.walk(tree(path)):
        shown: list[ast.expr] = []
        if isinstance(node, ast.Call):
            places = SHOWN.get(name(node), ())
            shown += [node.args[place] for place in places if place < len(node.args)]
            shown += [k.value for k in node.keywords if k.arg in LABELS and name(node) in SHOWN]
            if name(node) == "props" and node.args:
                said = ast.unparse(node.args[0])
                if "aria-label=" in said or "label=" in said.replace("aria-label=", ""):
                    yield f"{path.name}:{node.lineno}: {said}"
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            shown += [node.value] if node.targets[0].attr == "text" else []
        for expression in shown:
            for found in literals(expression):
                if is_word(str(found.value)):
                    yield f"{path.name}:{found.lineno}: {found.value!r}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_text_of_a_page_has_its_translation(path: Path) -> None:
    missing = []
    for text, call in spoken(path):
        said = sentences.catalogue().get(text)
        if said is None:
            missing.append(text)
            continue
        assert holes(said) == holes(text), f"{text!r} and {said!r} have different values"
        given = {k.arg for k in call.keywords}
        assert name(call) != "t" or given == holes(text), f"{text!r} is given {given}"
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_text_reaches_people_past_the_tongue(path: Path) -> None:
    assert list(untold(path)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_only_texts_that_are_written_out_can_be_looked_up(path: Path) -> None:
    loose = [
        f"{path.name}:{call.lineno}"
        for call in calls(path)
        if name(call) in SPOKEN
        and call.args
        and not (isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str))
    ]
    assert loose == [], "say `told` for a text that is known only at run time"


def test_a_text_past_the_tongue_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text(
        'Text("Hello")\nempty("icon", t("Fine"), "Not fine")\nx.text = f"{a} machines"\n'
        "y.props('aria-label=\"Search\"')\nText(t('Well'), 'muted')\nlink('', '/', 'brand')\n"
    )
    assert sorted(found.split(":")[1] for found in untold(page)) == ["1", "2", "3", "4"]


def dynamic() -> set[str]:
    """Words that pages look up at run time: states, and the shipped machine types'."""
    tables = (
        words.STATUS, words.PHASE, words.SHORT, words.RESULT, words.FINDING, words.REASON,
        rollout_words.PHASE, rollout_words.UPDATE, rollout_words.REPORT, rollout_words.STOP,
    )  # fmt: skip
    found = {text for table in tables for text in table.values()}
    found |= {severity.value.capitalize() for severity in Severity}
    for kind in machines.library().values():
        found |= {words.phrase(kind.name), kind.title}
        found |= {*(s.title for s in kind.signals), *(c.title for c in kind.commands)}
        found |= {r.title for r in kind.remedies} | {f.title for f in kind.faults}
        found |= {part.name for fault in kind.faults for part in fault.parts}
        found |= {skill for fault in kind.faults for skill in fault.skills}
    return found


def test_states_and_machine_types_have_their_translation() -> None:
    assert sorted(dynamic() - set(sentences.catalogue())) == []


def test_no_two_files_give_one_text_different_meanings() -> None:
    said: dict[str, str] = {}
    for path in sorted(sentences.CATALOGUE.glob("*.toml")):
        for text, meaning in tomllib.loads(path.read_text()).items():
            assert said.setdefault(text, meaning) == meaning, f"{path.name}: {text!r}"


def test_the_catalogue_holds_nothing_that_nobody_says() -> None:
    written = {
        node.value
        for path in [*PAGES, *CONSOLE.parent.glob("*.py")]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert sorted(set(sentences.catalogue()) - written - dynamic()) == []


def test_outside_a_page_texts_are_english() -> None:
    assert tongue.t("{count} min", count=4) == "4 min"
    assert tongue.told(words.STATUS["healthy"]) == "Healthy"  # type: ignore[index]  # a StrEnum
