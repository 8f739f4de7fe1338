"""Write TOML: what the standard library can only read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = str | int | float | bool | Path
Table = Mapping[str, "Value | Mapping[str, Value] | Sequence[Mapping[str, Value]]"]


def dumps(table: Table) -> str:
    """Return a table of values, one level of tables and arrays of tables as TOML."""
    lines = [
        f"{key} = {_value(value)}"
        for key, value in table.items()
        if not isinstance(value, Mapping) and (isinstance(value, str) or not _rows(value))
    ]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *(f"{k} = {_value(v)}" for k, v in value.items())]
        elif not isinstance(value, str):
            for row in _rows(value):
                lines += ["", f"[[{key}]]", *(f"{k} = {_value(v)}" for k, v in row.items())]
    return "\n".join(lines) + "\n"


def _rows(value: object) -> Sequence[Mapping[str, Value]]:
    return value if isinstance(value, Sequence) else ()


def _value(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
