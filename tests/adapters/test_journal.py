"""The worker's log: what it keeps, what it drops, and what it does at its bounds."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloud.adapters import journal as module
from cloud.adapters.journal import QUARANTINE_MAX, Checkpoint, Group, Journal
from cloud.adapters.journal_schema import GROUP_OVERHEAD_BYTES
from contract.errors import Refused, Unreachable

S = 10**9


def opened(path: Path, max_bytes: int = 10**9, max_age_s: float = 86_400) -> Journal:
    return Journal(path / "worker-0-of-1" / "journal.db", max_bytes, max_age_s)


def prune(journal: Journal, to: int) -> None:
    journal.save([], fed=journal.newest(), positions=(journal.newest(), b""), prune_to=to)


def file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "worker-0-of-1").iterdir())


def test_groups_come_back_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal.read(0, 100) == []
    assert journal.newest() == 0
    sent = [bytes([i, 0, 255, 10]) * 25 for i in range(1, 8)]
    assert [journal.append(packets, 3, 5 * S + i) for i, packets in enumerate(sent)] == [
        *range(1, 8)
    ]
    journal.close()
    journal = opened(tmp_path)
    everything = journal.read(0, 10**9)
    assert everything == [Group(i + 1, 5 * S + i, sent[i], None) for i in range(7)]
    assert journal.read(2, 250) == everything[2:4], "as many as fit"
    assert journal.read(2, 1) == everything[2:3], "never nothing when there is something"
    assert journal.read(7, 10**9) == []
    assert journal.newest() == 7
    journal.close()


def test_scores_are_seen_at_once_and_kept_by_the_next_commit(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for i in range(3):
        journal.append(b"packets", 1, i)
    journal.note_scores(1, b"one")
    journal.note_scores(2, b"two")
    assert [group.scores for group in journal.read(0, 10**9)] == [b"one", b"two", None]
    journal.append(b"packets", 1, 3)
    journal.note_scores(2, b"anew")
    journal.save([], fed=0, positions=(4, b""), prune_to=0)
    journal.note_scores(3, b"lost")
    journal.close()
    journal = opened(tmp_path)
    assert [group.scores for group in journal.read(0, 10**9)] == [b"one", b"anew", None, None]
    journal.close()


def test_many_scores_do_not_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTED_BYTES_MAX", 1000)
    journal = opened(tmp_path)
    for i in range(1, 4):
        journal.append(b"packets", 1, i)
    journal.note_scores(1, bytes(600))
    journal.note_scores(2, bytes(600))
    journal.close()
    journal = opened(tmp_path)
    assert [group.scores for group in journal.read(0, 10**9)] == [bytes(600), None, None]
    journal._connection.execute("PRAGMA max_page_count = 12")
    journal.note_scores(2, bytes(200_000))
    with pytest.raises(Unreachable, match="full"):
        journal.note_scores(3, b"three")
    assert [group.scores for group in journal.read(1, 10**9)] == [bytes(200_000), None]
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.note_scores(3, b"three")
    journal.close()
    journal = opened(tmp_path)
    assert [group.scores for group in journal.read(1, 10**9)] == [bytes(200_000), None]
    journal.close()


def test_a_save_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert (journal.fed(), journal.positions(), journal.checkpoints()) == (0, None, {})
    for i in range(1, 5):
        journal.append(b"packets", 1, i)
    old, other = Checkpoint("pump-1", 1, b"old"), Checkpoint("pump-2", 2, b"other")
    journal.save([old, other], fed=3, positions=(4, b"snapshot"), prune_to=2)
    journal.save([Checkpoint("pump-1", 3, b"new")], fed=4, positions=(4, b"again"), prune_to=1)
    journal.close()
    journal = opened(tmp_path)
    assert journal.checkpoints() == {"pump-1": Checkpoint("pump-1", 3, b"new"), "pump-2": other}
    assert journal.positions() == (4, b"again")
    assert journal.fed() == 4
    assert [group.id for group in journal.read(0, 10**9)] == [3, 4]
    journal.close()


@pytest.mark.parametrize(
    ("fed", "stands_for", "to"), [(3, 1, 2), (1, 3, 2), (4, 3, 2), (3, 4, 2), (3, 3, 4)]
)
def test_what_is_still_needed_cannot_be_dropped(
    tmp_path: Path, fed: int, stands_for: int, to: int
) -> None:
    journal = opened(tmp_path)
    for i in range(1, 4):
        journal.append(b"packets", 1, i)
    with pytest.raises(ValueError, match=f"cannot prune to {to}"):
        journal.save([], fed=fed, positions=(stands_for, b""), prune_to=to)
    assert len(journal.read(0, 10**9)) == 3
    assert journal.positions() is None
    journal.close()


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(b"one", 1, 1)
    journal.append(b"two", 1, 2)
    prune(journal, 2)
    assert journal.read(0, 10**9) == []
    journal.close()
    journal = opened(tmp_path)
    assert journal.newest() == 2
    assert journal.append(b"three", 1, 3) == 3
    journal.close()


def test_a_full_journal_refuses_whole_groups_until_it_is_pruned(tmp_path: Path) -> None:
    size = 1000 + GROUP_OVERHEAD_BYTES
    journal = opened(tmp_path, max_bytes=3 * size)
    journal.append(bytes(1000), 4, S)
    journal.append(bytes(1000), 4, S)
    assert journal.fill(S).share == pytest.approx(2 / 3)
    group = bytes(1000 + size)
    with pytest.raises(Refused, match=rf"{2 * size} of {3 * size} bytes: 9 messages are not taken"):
        journal.append(group, 9, S, [("topic", b"payload", "reason")])
    assert len(journal.read(0, 10**9)) == 2
    assert journal.quarantined(9) == [], "what is not taken comes again"
    prune(journal, 1)
    assert journal.fill(S).bytes == size
    journal.append(bytes(2000), 9, S)
    journal.close()
    journal = opened(tmp_path, max_bytes=3 * size)
    assert journal.fill(S).bytes == 3000 + 2 * GROUP_OVERHEAD_BYTES
    with pytest.raises(Refused):
        journal.append(bytes(1000), 1, S)
    assert journal.append(b"", 0, S, [("topic", b"payload", "reason")]) == 3
    assert len(journal.quarantined(9)) == 1, "it has a bound of its own"
    journal.close()


def test_scores_take_room_too(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=2000)
    journal.append(bytes(500), 1, S)
    journal.note_scores(1, bytes(900))
    journal.append(bytes(200), 1, S)
    assert journal.fill(S).bytes == 500 + 900 + 200 + 2 * GROUP_OVERHEAD_BYTES
    with pytest.raises(Refused):
        journal.append(bytes(200), 1, S)
    journal.note_scores(1, bytes(100))
    journal.save([], fed=0, positions=(0, b""), prune_to=0)
    assert journal.fill(S).bytes == 500 + 100 + 200 + 2 * GROUP_OVERHEAD_BYTES, "replaced"
    journal.append(bytes(200), 1, S)
    journal.close()


def test_a_group_that_waits_too_long_refuses_the_next(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_age_s=60)
    assert journal.fill(500 * S).share == 0
    journal.append(b"packets", 1, 100 * S)
    journal.append(b"packets", 1, 160 * S)
    assert journal.fill(130 * S).share == pytest.approx(0.5)
    assert journal.fill(50 * S).share < 0.01, "a clock that was set back makes nothing old"
    for _ in range(2):
        with pytest.raises(Refused, match="waits for 62 of 60 seconds: 7 messages are not taken"):
            journal.append(b"packets", 7, 162 * S)
        assert journal.fill(162 * S).share == 1
        journal.close()
        journal = opened(tmp_path, max_age_s=60)
    prune(journal, 1)
    assert journal.append(b"packets", 7, 162 * S) == 3
    assert journal.fill(162 * S).oldest_ns == 160 * S
    prune(journal, 3)
    assert journal.append(b"packets", 7, 999 * S) == 4
    journal.close()


def test_a_full_disk_is_refused_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(b"packets", 1, 1)
    journal.note_scores(1, b"scores")
    before = journal.fill(1).bytes
    journal._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(Refused, match=r"full.*make room on the disk"):
        journal.append(bytes(200_000), 1, 2, [("topic", b"payload", "reason")])
    with pytest.raises(Unreachable, match="full"):
        journal.save(
            [Checkpoint("pump-1", 1, bytes(200_000))], fed=1, positions=(1, b""), prune_to=1
        )
    assert journal.read(0, 10**9) == [Group(1, 1, b"packets", b"scores")]
    assert (journal.quarantined(9), journal.checkpoints(), journal.fed()) == ([], {}, 0)
    assert (journal.fill(1).bytes, journal.newest()) == (before, 1)
    journal._connection.execute("PRAGMA max_page_count = 100000")
    assert journal.append(b"packets", 1, 2) == 2
    assert journal.fill(1).bytes == 2 * before + len(b"scores")
    journal.close()


def test_quarantined_messages_wait_with_their_reason(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(b"packets", 1, 7, [("a/b", b"\x00\xff", "no JSON"), ("c", b"", "stranger")])
    journal.append(b"", 0, 8, [("hostile \udcff", bytes(99_999), "x" * 99_999)])
    found = journal.quarantined(9)
    assert found[:2] == [(1, 7, "a/b", b"\x00\xff", "no JSON"), (2, 7, "c", b"", "stranger")]
    assert found[2][:3] == (3, 8, "hostile \\udcff")
    assert len(found[2][3]) == module.QUARANTINE_PAYLOAD_BYTES_MAX
    assert len(found[2][4]) == module.QUARANTINE_TEXT_MAX
    assert journal.quarantined(1) == found[:1]
    journal.forget_quarantined(3)
    journal.close()
    journal = opened(tmp_path)
    assert journal.quarantined(9) == []
    journal.append(b"", 0, 9, [("d", b"", "again")])
    assert journal.quarantined(9) == [(4, 9, "d", b"", "again")], "numbers are never used again"
    journal.close()


def test_a_flood_of_nonsense_fills_no_disk(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for start in range(0, 4500, 150):
        flood = [(str(number), b"x", "nonsense") for number in range(start, start + 150)]
        journal.append(b"", 0, 1, flood)
    kept = [int(topic) for _, _, topic, _, _ in journal.quarantined(10**6)]
    assert kept == list(range(4500 - QUARANTINE_MAX, 4500))
    journal.append(b"", 0, 1, [("one", b"x", "nonsense")] * 5000)
    assert len(journal.quarantined(10**6)) == QUARANTINE_MAX
    journal.close()


def test_a_second_gateway_is_kept_out(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(Refused, match="stop the other gateway"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    (tmp_path / "worker-0-of-1").mkdir()
    (tmp_path / "worker-0-of-1" / "journal.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(Refused, match="restore it from a backup"):
        opened(tmp_path)


def test_the_file_of_a_journal_that_is_pruned_does_not_grow(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    sizes = []
    for i in range(200):
        for k in range(8):
            journal.append(bytes(1 + (i * 7919 + k * 104_729) % 60_000), 1, i)
            journal.note_scores(journal.newest(), bytes(1 + (i * 31 + k) % 9000))
        state = Checkpoint(f"pump-{i % 20}", journal.newest(), bytes(2000 + i % 500))
        kept = max(0, journal.newest() - 40)
        journal.save([state], fed=kept, positions=(journal.newest(), bytes(5000)), prune_to=kept)
        sizes.append(file_bytes(tmp_path))
    assert len(journal.read(0, 10**9)) == 40
    assert max(sizes[70:]) <= 1.3 * max(sizes[:50])
    assert sizes[-1] < 12_000_000, "of 50 MB that went through"
    journal.close()


def test_senders_are_heard_while_much_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    for i in range(25):
        journal.append(bytes(module.SLICE_BYTES), 1, i)
    heard = []
    with ThreadPoolExecutor(1) as sender:

        def pause(seconds: float) -> None:
            assert seconds > 0
            heard.append(sender.submit(journal.append, b"packets", 1, 99).result())

        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pause))
        prune(journal, 25)
    assert heard == list(range(26, 26 + 24)), "after each of 25 slices but the last"
    assert [group.id for group in journal.read(0, 10**9)] == heard
    assert journal.fill(99).bytes == 24 * (len(b"packets") + GROUP_OVERHEAD_BYTES)
    journal.close()


def test_many_small_groups_are_pruned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_GROUPS", 7)
    journal = opened(tmp_path)
    for i in range(1, 43):
        journal.append(b"packets", 1, i)
    prune(journal, 41)
    assert journal._one("SELECT count(*) FROM groups") == 1
    prune(journal, 42)
    assert journal._one("SELECT count(*) FROM groups") == 0
    assert journal.fill(1).bytes == 0
    journal.close()
