"""The tables of a worker's journal, and the statements that `Journal` runs more than once."""

GROUP_OVERHEAD_BYTES = 100
"""What a group takes beside its packets and scores, roughly."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY, received_ns INTEGER NOT NULL, packets BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS scores (group_id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (
    device TEXT PRIMARY KEY, position INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1), fed INTEGER NOT NULL, pruned_to INTEGER NOT NULL,
    positions_id INTEGER, positions BLOB
);
CREATE TABLE IF NOT EXISTS inherited (id INTEGER PRIMARY KEY, positions BLOB NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0, 0, NULL, NULL);
"""

ADD_QUARANTINED = "INSERT INTO quarantine (at_ns, topic, payload, reason) VALUES (?, ?, ?, ?)"

GROUP_BYTES = f"SELECT sum(length(packets) + {GROUP_OVERHEAD_BYTES}) FROM groups WHERE id <= ?"  # noqa: S608
ADD_SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?)"
SCORE_BYTES = "SELECT length(data) FROM scores WHERE group_id = ?"
READ = """
SELECT id, received_ns, packets, data FROM groups LEFT JOIN scores ON group_id = id
WHERE id > ? ORDER BY id
"""
PUT_CHECKPOINT = """
INSERT INTO checkpoints VALUES (?, ?, ?)
ON CONFLICT (device) DO UPDATE SET position = excluded.position, data = excluded.data
"""
PUT_MARKS = "UPDATE state SET fed = ?, pruned_to = ?"
PUT_SNAPSHOT = "UPDATE state SET positions_id = ?, positions = ?"
SNAPSHOT_OF = "SELECT positions_id FROM state"
