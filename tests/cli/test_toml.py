"""What is written must be read back the same by the standard library."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from farfix import toml

KEYS = st.text("abcdefgh_", min_size=1, max_size=5)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
VALUES = TEXT | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(-1e9, 1e9)
FLAT = st.dictionaries(KEYS, VALUES, max_size=4)


@given(
    st.dictionaries(
        KEYS,
        VALUES | FLAT.filter(bool) | st.lists(FLAT.filter(bool), min_size=1, max_size=3),
        max_size=5,
    )
)
def test_tables_survive_the_round_trip(table: toml.Table) -> None:
    assert tomllib.loads(toml.dumps(table)) == table
