"""The house rules that no linter knows, as ordinary tests over the tree."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ["contract", "edge", "cloud", "models", "firmware_sim", "farfix"]
SOURCES = sorted(p for root in ROOTS for p in (ROOT / root).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_fit_in_a_head_and_functions_on_a_screen(path: Path) -> None:
    limit = 60 if path.name == "__main__.py" and path.parent.name != "farfix" else 400
    assert lines(path) <= limit, f"{relative(path)} is too long: split it by subject"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 50, f"{relative(path)}:{node.lineno} {node.name} has {length} lines"


def test_the_contract_stays_poor() -> None:
    total = sum(lines(p) for p in (ROOT / "contract").rglob("*.py"))
    assert total <= 1600, f"contract/ has {total} lines; it must stay small"


def test_tests_are_no_package() -> None:
    found = [relative(p) for p in (ROOT / "tests").rglob("__init__.py")]
    assert not found, f"{found} would shadow a root package (flat names, guard 1)"


def test_no_module_or_room_is_named_like_a_root_or_the_standard_library() -> None:
    # `python cloud/x.py` beside cloud/http/ would lose http.client; beside cloud/models.py, models.
    for path in SOURCES:
        rooms = path.relative_to(ROOT).parts[1:-1]
        names = {path.stem, *rooms} - {"__init__", "__main__"}
        assert not names & set(ROOTS), f"{relative(path)} bears the name of a root"
        assert not set(rooms) & sys.stdlib_module_names, f"{relative(path)}: a room like stdlib's"


def test_no_dependency_claims_our_names() -> None:
    for name in ROOTS:
        assert packages_distributions().get(name, ["farfix"]) == ["farfix"], f"{name} is claimed"


def test_todos_carry_a_reason() -> None:
    for path in [*SOURCES, *TESTS]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if path != Path(__file__) and re.search(r"\b(TODO|FIXME|XXX)\b(?!.{15})", line):
                pytest.fail(f"{relative(path)}:{number}: a TODO without a reason")


def test_nobody_speaks_of_this_machine() -> None:
    tracked = [p for p in ROOT.rglob("*") if p.suffix in {".py", ".md", ".toml", ".yml", ".sh"}]
    for path in tracked:
        if ".venv" in path.parts or "var" in path.parts or path == Path(__file__):
            continue
        text = path.read_text()
        for word in ("/work/", "/root/", "pypi.org", "files.pythonhosted"):
            assert word not in text, f"{relative(path)} mentions {word}"
