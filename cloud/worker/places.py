"""Which worker owns a device, and where it keeps what it knows."""

from pathlib import Path

from cloud.adapters.shards import board_path, journal_path
from cloud.config import Config
from contract import topics

WORKERS = "workers"
"""Folder of all workers within the gateway's data."""


def owner(device: str, workers: int) -> int:
    """Return the number of the worker that owns a device; its subscriptions agree."""
    return topics.partition(device) % workers


def journal(data_dir: Path, worker: int, workers: int) -> Path:
    """Return a worker's journal."""
    return journal_path(data_dir / WORKERS, worker, workers)


def board(data_dir: Path, worker: int, workers: int) -> Path:
    """Return a worker's live board, beside its journal."""
    return board_path(data_dir / WORKERS, worker, workers)


def series(data_dir: Path, worker: int) -> Path:
    """Return where a worker keeps telemetry if the gateway uses the embedded store."""
    return data_dir / f"telemetry-{worker}.db"


def all_series(config: Config, device: str) -> list[Path]:
    """Return the embedded store's files that may know a device, its worker's last.

    Others may hold what was measured when the gateway had another number of workers.
    """
    own = series(config.data_dir, owner(device, config.workers))
    others = sorted(config.data_dir.glob("telemetry-*.db"))
    return [*(path for path in others if path != own), own]
