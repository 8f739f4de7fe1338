"""The journals of all workers on the disk, and what becomes of them when the number changes.

Worker k of n keeps its journal in ``worker-k-of-n/journal.db`` below the data directory. A device
may belong to another worker when n changes, so what is known of it has to move. No journal with
waiting groups is moved: their packets are mixed.

The new journals are written in ``resharding``, which counts for nothing. Renaming that folder to
``resharded-to-n`` is the one moment that decides; from then on the old journals are deleted and the
new ones put in their place, which a start after a crash takes up again.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cloud.adapters.artifacts import sync
from cloud.adapters.journal import Checkpoint, Journal
from contract.errors import Refused

JOURNAL, BOARD = "journal.db", "live.board"
WRITING = "resharding"
_WORKER = re.compile(r"worker-(\d{1,4})-of-(\d{1,4})")
_WRITTEN = re.compile(r"resharded-to-(\d{1,4})")


def journal_path(folder: Path, worker: int, workers: int) -> Path:
    """Return where a worker keeps its journal."""
    return folder / f"worker-{worker}-of-{workers}" / JOURNAL


def board_path(folder: Path, worker: int, workers: int) -> Path:
    """Return where a worker keeps its live board."""
    return folder / f"worker-{worker}-of-{workers}" / BOARD


def reshard(folder: Path, workers: int, worker_of: Callable[[str], int]) -> None:
    """Give the devices' state to the workers of today. To be called before any worker starts.

    Args:
        folder: the data directory.
        workers: how many there are now.
        worker_of: the number of the worker that owns a device, below `workers`.

    Raises:
        Refused: groups still wait in a journal of another number of workers, one of the journals is
            open or damaged, or there are journals of several numbers of workers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / WRITING).exists():
        shutil.rmtree(folder / WRITING)
    for path in list(folder.iterdir()):
        if match := _WRITTEN.fullmatch(path.name):
            _put_in_place(folder, path, int(match[1]))
    numbers = {of for _, of in _journals(folder)}
    if len(numbers) > 1:
        raise Refused(
            f"{folder} has journals of {' and of '.join(map(str, sorted(numbers)))} workers:"
            " put those aside that are none of this gateway's"
        )
    if not numbers or numbers == {workers}:
        return
    _write(folder, workers, worker_of)
    written = folder / f"resharded-to-{workers}"
    (folder / WRITING).rename(written)
    sync(folder)
    _put_in_place(folder, written, workers)


def _write(folder: Path, workers: int, worker_of: Callable[[str], int]) -> None:
    with ExitStack() as stack:
        old = []
        for (_, of), path in sorted(_journals(folder).items()):
            journal = Journal(path, max_bytes=1, max_age_s=1)  # only to be read
            stack.callback(journal.close)
            if journal.read(0, 1):
                raise Refused(
                    f"{path} still holds telemetry: start with workers = {of} once more until the"
                    " journal is empty (the store must be reachable), then change the number"
                )
            old.append(journal)
        shares: list[list[Checkpoint]] = [[] for _ in range(workers)]
        for journal in old:
            for checkpoint in journal.checkpoints().values():
                shares[worker_of(checkpoint.device)].append(checkpoint)
        snapshots = [each for journal in old for each in journal.inherited()]
        snapshots += [found[1] for journal in old if (found := journal.positions())]
        snapshots = list(dict.fromkeys(snapshots))  # each of the old ones may have all of the older
        waiting = [message for journal in old for message in journal.quarantined(-1)]
        start = max(journal.newest() for journal in old)
        for worker, share in enumerate(shares):
            path = journal_path(folder / WRITING, worker, workers)
            new = Journal(path, max_bytes=1, max_age_s=1)
            stack.callback(new.close)
            new.inherit(share, snapshots, [] if worker else waiting, start)
    for path in [*(folder / WRITING).iterdir(), folder / WRITING]:
        sync(path)


def _put_in_place(folder: Path, written: Path, workers: int) -> None:
    """Take the journals in `written` for the only ones; begin again where this was interrupted."""
    for old in list(folder.iterdir()):
        match = _WORKER.fullmatch(old.name)
        if match and int(match[2]) != workers:
            # The WAL goes first: alone it could be taken for that of a later journal.
            for name in (f"{JOURNAL}-wal", JOURNAL, BOARD):
                (old / name).unlink(missing_ok=True)
            if not any(old.iterdir()):  # what others put there stays
                old.rmdir()
    for (worker, of), path in _journals(written).items():
        target = journal_path(folder, worker, of)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
        sync(target.parent)
    sync(folder)
    shutil.rmtree(written)


def _journals(folder: Path) -> dict[tuple[int, int], Path]:
    """Return the journals of each worker and number of workers."""
    found = {}
    for path in folder.glob(f"worker-*-of-*/{JOURNAL}"):
        if match := _WORKER.fullmatch(path.parent.name):
            found[int(match[1]), int(match[2])] = path
    return found
