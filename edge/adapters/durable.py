"""Files that survive a power cut: whole, old or new."""

import os
from pathlib import Path


def write(file: Path, data: bytes) -> None:
    """Replace a file; after a power cut at any moment it holds the old bytes or the new ones."""
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
