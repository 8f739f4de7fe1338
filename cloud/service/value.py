"""The value ledger and its reports."""

import re
from datetime import UTC, datetime
from itertools import groupby

import msgspec

from cloud.adapters.store import OutboxState, Store
from cloud.config import Config
from cloud.core import ledger
from cloud.core.evidence import NS
from cloud.core.ledger import Entry, Prices
from cloud.service import value_files
from cloud.web.value_ports import Report, Sums
from contract.errors import Malformed, Unreachable

MONTHS_MAX = 36
_MONTH = re.compile(r"(19[7-9]\d|2[01]\d\d)-(0[1-9]|1[0-2])", re.ASCII)


class Value:
    """Serves `cloud.web.value_ports.Value`."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._prices = Prices(**config.prices.model_dump())

    def take(self, entries: list[Entry]) -> None:
        """Keep lines; one whose key is known stays as it is.

        A line that takes another back takes back exactly what that one says, whatever the prices
        are today. If that one was never written there is nothing to take back.

        Raises:
            Unreachable: what is taken back is still on its way here.
        """
        wanted = {entry.reverses for entry in entries if entry.reverses}
        originals = {e.key: e for e in entries} | self._store.value.known(wanted)
        missing = wanted - originals.keys()
        if missing and self._coming(entries[0].case_id, missing):
            raise Unreachable("what is taken back is not written yet")
        self._store.value.add(
            ledger.taken_back(entry, originals[entry.reverses]) if entry.reverses else entry
            for entry in entries
            if entry.reverses not in missing
        )

    def _coming(self, case_id: str, keys: set[str]) -> bool:
        return any(
            row.kind == "ledger"
            and row.state is OutboxState.PENDING
            and any(e.key in keys for e in msgspec.json.decode(row.payload, type=list[Entry]))
            for row in self._store.outbox(case_id)
        )

    def months(self) -> list[Sums]:
        """Return the months that have entries, the latest first; three years at most."""
        figures = self._store.value.figures(MONTHS_MAX * 30 * 86_400 * NS)
        found = []
        for month, lines in groupby(figures, key=lambda figure: _month(figure.at_ns)):
            counts, amounts = ledger.totals(lines, self._prices.currency)
            found.append(Sums(month, counts, amounts))
        return found[: -MONTHS_MAX - 1 : -1]

    def report(self, month: str) -> Report:
        """Return one month.

        Raises:
            Malformed: not a month.
        """
        from_ns, to_ns = _span(month)
        entries = self._store.value.between(from_ns, to_ns)
        counts, amounts = ledger.totals(entries, self._prices.currency)
        return Report(
            month=month,
            entries=entries,
            counts=counts,
            amounts=amounts,
            cases=self._store.value.ended(from_ns, to_ns),
            prices=self._prices,
        )

    def case_entries(self, case_id: str) -> list[Entry]:
        """Return the entries of one case, oldest first."""
        return self._store.value.of_case(case_id)

    def csv(self, month: str) -> bytes:
        """Return the month's entries as CSV.

        Raises:
            Malformed: not a month.
        """
        return value_files.csv_file(self.report(month))

    def pdf(self, month: str) -> bytes:
        """Return the month's report as PDF.

        Raises:
            Malformed: not a month.
        """
        return value_files.pdf_file(self.report(month))


def _month(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS, UTC).strftime("%Y-%m")


def _span(month: str) -> tuple[int, int]:
    if _MONTH.fullmatch(month) is None:
        raise Malformed(f"{month[:20]!r} is not a month: write year and month, as in 2026-11")
    year, number = int(month[:4]), int(month[5:])
    begin = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(begin.timestamp()) * NS, int(end.timestamp()) * NS
