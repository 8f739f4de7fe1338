"""How busy the workers are, by what they counted since the last look."""

import time

from cloud.adapters.board import Board

COUNTED = ("scored", "accepted", "written", "rejected", "delay_sum_s", "delay_count")


class Load:
    """Remembers counters and tells how they moved; a worker that starts again begins at 0."""

    def __init__(self, boards: list[Board]) -> None:
        self._counts = _counts(boards)
        self._quarantined: int | None = None
        self._at_s = time.monotonic()

    def since_last(self, boards: list[Board], quarantined: int) -> dict[str, float | str | None]:
        """Return the fields of ``farfix_gateway`` that follow from counters.

        Args:
            boards: of the workers.
            quarantined: messages that were ever quarantined.
        """
        now_s, counts = time.monotonic(), _counts(boards)
        took_s = max(now_s - self._at_s, 1e-3)
        moved = {name: max(0.0, counts[name] - self._counts[name]) for name in COUNTED}
        new = 0 if self._quarantined is None else quarantined - self._quarantined
        self._counts, self._quarantined, self._at_s = counts, quarantined, now_s
        delays = moved["delay_count"]
        return {
            "readings_per_s": moved["scored"] / took_s,
            "batches_per_s": moved["accepted"] / took_s,
            "rows_per_s": moved["written"] / took_s,
            "lag_s": moved["delay_sum_s"] / delays if delays else None,
            "journal_bytes": float(sum(board.journal_bytes for board in boards)),
            "quarantined": float(max(0, new)),
            "rejected": moved["rejected"],
        }


def _counts(boards: list[Board]) -> dict[str, float]:
    return {name: sum(board.counted(name) for board in boards) for name in COUNTED}
