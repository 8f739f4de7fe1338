"""Where compiled code is kept."""

import os
import stat
import tempfile
from pathlib import Path

import models


def find_cache() -> None:
    """Give numba a folder to keep compiled code in, where neither package nor home is writable."""
    package = Path(models.__file__ or ".").parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    known = package / "__pycache__", home / "numba"
    if os.environ.get("NUMBA_CACHE_DIR") or any(map(_writable, known)):
        return
    own = Path(tempfile.gettempdir()) / f"farfix-numba-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    # compiled code is run as it is found: nobody else may have put it there
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        own = Path(tempfile.mkdtemp(prefix="farfix-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(own)


def _writable(folder: Path) -> bool:
    """Tell by trying, as numba does, whether files can be made in a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
