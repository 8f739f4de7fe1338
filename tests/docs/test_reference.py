from pathlib import Path

import pytest

from farfix import reference

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_pages_say_what_the_code_says(name: str) -> None:
    expected = reference.HEADER + reference.PAGES[name]()
    assert (FOLDER / name).read_text() == expected, "run `make docs`"
