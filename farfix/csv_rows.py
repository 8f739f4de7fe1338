"""Rows of a CSV file, with the line that each ends on."""

import csv
from collections.abc import Iterator
from pathlib import Path

from contract.errors import Malformed


def read(file: Path, *, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row, the header's first; empty lines are none.

    Args:
        file: in UTF-8.
        strict: refuse other bytes; else they are replaced, and only their cells are lost.

    Raises:
        Malformed: it cannot be read, or is no such file.
    """
    errors = "strict" if strict else "replace"
    try:
        with file.open(newline="", encoding="utf-8-sig", errors=errors) as stream:
            reader = csv.reader(stream)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except OSError as error:
        raise Malformed(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Malformed(f"{file} is not CSV in UTF-8: {error}") from error
