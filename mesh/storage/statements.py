"""Every statement that the store runs again and again, in one place; the tables are in `schema.sql`.

Each is a constant, so that SQLite compiles it once per connection. `INDEXED BY` states which index a query is made
for: without that index it fails at once instead of scanning the table.
"""

# ruff: noqa: S608 - what is put together here are constants of this file

from __future__ import annotations

from typing import Final

_ROW: Final = """seq, id, role, state, live, up_board, up_number, down_board, down_number, up_branch, down_branch,
    waiting, due_ms, key, record, facts, "check" """

# -- writing ----------------------------------------------------------------------------------------------------------

_VALUES: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS: Final = """
    role = excluded.role, state = excluded.state, live = excluded.live,
    up_board = excluded.up_board, up_number = excluded.up_number,
    down_board = excluded.down_board, down_number = excluded.down_number,
    up_branch = excluded.up_branch, down_branch = excluded.down_branch,
    waiting = excluded.waiting, due_ms = excluded.due_ms, key = excluded.key,
    record = excluded.record, facts = excluded.facts, "check" = excluded."check"
"""
# The id of a `seq` never changes: leaving it out spares its index. Should an id come with another `seq` all the same,
# it goes there: what is in the journal was acknowledged, and a store that could not fold it could not be opened.
_REPLACE_ROW: Final = f"""
ON CONFLICT (seq) DO UPDATE SET {_COLUMNS}
ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, {_COLUMNS}
"""
_PUT_ROWS: Final = f"INSERT INTO jobs ({_ROW}) VALUES {_VALUES}"
PUT_ROWS: Final = tuple(
    (rows, _PUT_ROWS + f", {_VALUES}" * (rows - 1) + _REPLACE_ROW) for rows in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
)
"""Rows that one statement writes, and the statement, most rows first: any number in few of them.

Python's lock is given up around each statement, and a busy event loop takes milliseconds to give it back: whoever waits
for the next commit waits for that, too.
"""
QUARANTINE: Final = "UPDATE jobs SET up_branch = NULL, down_branch = NULL, due_ms = NULL WHERE seq = ?"
PUT_BOARD: Final = """
INSERT INTO boards (id, zone, name, fingerprint, record, "check") VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    zone = excluded.zone, name = excluded.name, fingerprint = excluded.fingerprint, record = excluded.record,
    "check" = excluded."check"
"""
FORGET_INCARNATIONS: Final = "DELETE FROM incarnations"
PUT_INCARNATION: Final = 'INSERT INTO incarnations (incarnation, first, "check") VALUES (?, ?, ?)'
PUT_CARD: Final = 'INSERT OR REPLACE INTO cards (fingerprint, card, "check") VALUES (?, ?, ?)'
PUT_PIN: Final = 'INSERT OR REPLACE INTO pins (zone, route, fingerprint, "check") VALUES (?, ?, ?, ?)'
PUT_PORTAL: Final = 'INSERT OR REPLACE INTO portals (zone, portal, fingerprint, "check") VALUES (?, ?, ?, ?)'
PUT_PEER: Final = 'INSERT OR REPLACE INTO peers (fingerprint, zone, record, "check") VALUES (?, ?, ?, ?)'
PUT_OWNER: Final = 'INSERT INTO owner (place, fingerprint, "check") VALUES (1, ?, ?)'
MAKE_SEAL: Final = 'INSERT INTO seal (place, "check", folded) VALUES (1, ?, 0)'
PUT_SEAL: Final = 'UPDATE seal SET "check" = ? WHERE place = 1'
MAKE_JOURNAL: Final = "INSERT INTO journal (place, mark, folded, known) VALUES (1, ?, 0, 0)"
PUT_FOLDED: Final = "UPDATE journal SET folded = ?, known = ? WHERE place = 1"
SEAL_FOLDED: Final = """
CREATE TEMP TRIGGER folded AFTER UPDATE OF folded ON main.journal BEGIN
    UPDATE seal SET folded = NEW.folded WHERE place = 1;
END
"""
PUT_INVITATION: Final = 'INSERT OR REPLACE INTO invitations (id, record, "check") VALUES (?, ?, ?)'

# -- trimming and collecting ------------------------------------------------------------------------------------------

# Behind a number that is given. SQLite plans a statement anew each time it runs if a parameter by itself may decide
# whether a partial index will do (here: is it above 0?); of what is worked out from one it does not ask that.
_AFTER: Final = "> ? + 0"

TRIM_END: Final = f"""
SELECT up_number FROM jobs INDEXED BY jobs_up
WHERE up_board = ? AND up_number {_AFTER} AND up_number <= ? AND up_number > 0
ORDER BY up_number LIMIT 1 OFFSET ?
"""
TRIM: Final = f"""
UPDATE jobs INDEXED BY jobs_up SET facts = NULL
WHERE up_board = ? AND up_number {_AFTER} AND up_number <= ? AND up_number > 0
    AND live = 0 AND state <> ? AND facts IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM blobs INDEXED BY blobs_owed WHERE owed IS NOT NULL AND blobs.job = jobs.id)
"""
HAS_BLOBS: Final = "SELECT EXISTS (SELECT 1 FROM blobs)"
OWED: Final = "SELECT job FROM blobs INDEXED BY blobs_owed WHERE owed IS NOT NULL"
# But of jobs whose present row is in the journal: it may have other bytes.
DROP_TRIMMED: Final = f"""
DELETE FROM blobs WHERE id IN (
    SELECT blobs.id FROM jobs INDEXED BY jobs_up CROSS JOIN blobs INDEXED BY blobs_job ON blobs.job = jobs.id
    WHERE jobs.up_board = ? AND jobs.up_number {_AFTER} AND jobs.up_number <= ? AND jobs.up_number > 0
        AND jobs.live = 0 AND jobs.facts IS NULL AND jobs.seq NOT IN (SELECT value FROM json_each(?))
)
"""
FINISHED: Final = "SELECT COUNT(*) FROM jobs INDEXED BY jobs_over WHERE live = 0 AND role = ?"
COLLECT: Final = """
DELETE FROM jobs WHERE seq IN (
    SELECT seq FROM jobs INDEXED BY jobs_over WHERE live = 0 AND role = ? AND due_ms <= ? ORDER BY due_ms, seq LIMIT ?
)
"""

# -- queries of the engine --------------------------------------------------------------------------------------------

BY_ID: Final = f"SELECT {_ROW} FROM jobs INDEXED BY jobs_id WHERE id = ?"
BY_KEY: Final = f"SELECT {_ROW} FROM jobs INDEXED BY jobs_key WHERE key = ? ORDER BY seq DESC LIMIT 1"
NUMBERED_UP: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_up
WHERE up_board = ? AND up_number {_AFTER} AND up_number <= ? AND up_number > 0 ORDER BY up_number, seq LIMIT ?
"""
NUMBERED_DOWN: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_down
WHERE down_board = ? AND down_number {_AFTER} AND down_number <= ? AND down_number > 0
ORDER BY down_number, seq LIMIT ?
"""
_PROVED: Final = """
    (seq >= :first_seq OR (
        ifnull(up_board, -1) NOT IN (SELECT value FROM json_each(:unproved))
        AND ifnull(down_board, -1) NOT IN (SELECT value FROM json_each(:unproved))
    ))
"""
WAITING: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_waiting
WHERE waiting = 1 AND down_board = ? AND down_branch = ? ORDER BY seq LIMIT ?
"""
WAITING_PROVED: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_waiting
WHERE waiting = 1 AND down_board = :board AND down_branch = :branch AND {_PROVED} ORDER BY seq LIMIT :limit
"""
SHARED_UP: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_shared_up
WHERE facts IS NOT NULL AND up_board = ? AND seq > ? ORDER BY seq LIMIT ?
"""
SHARED_DOWN: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_shared_down
WHERE facts IS NOT NULL AND down_board = ? AND seq > ? ORDER BY seq LIMIT ?
"""
UNFINISHED: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_shared_up
WHERE facts IS NOT NULL AND up_board = ? AND seq > ? AND live = 1 AND role = ? ORDER BY seq LIMIT ?
"""
DUE: Final = f"""
SELECT {_ROW} FROM jobs INDEXED BY jobs_live
WHERE live = 1 AND due_ms IS NOT NULL AND due_ms <= :now_ms AND {_PROVED} ORDER BY due_ms, seq LIMIT :limit
"""
NEXT_DUE: Final = f"""
SELECT due_ms FROM jobs INDEXED BY jobs_live
WHERE live = 1 AND due_ms IS NOT NULL AND {_PROVED} ORDER BY due_ms, seq LIMIT 1 OFFSET :found
"""

# -- queries of people ------------------------------------------------------------------------------------------------

LIST_LIVE: Final = f"""
SELECT {_ROW} FROM jobs WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_live WHERE live = 1 AND seq < :before)
    AND (1 << state) & :states ORDER BY seq DESC LIMIT :limit
"""
LIST_FINISHED: Final = f"""
SELECT {_ROW} FROM jobs WHERE seq < :before AND live = 0 AND (1 << state) & :states ORDER BY seq DESC LIMIT :limit
"""
LIST_ALL: Final = f"""
SELECT {_ROW} FROM jobs WHERE seq < :before AND (1 << state) & :states ORDER BY seq DESC LIMIT :limit
"""
FIND_SHORT: Final = f"""
SELECT {_ROW} FROM jobs WHERE seq IN (
    SELECT seq FROM (SELECT seq, id FROM jobs INDEXED BY jobs_id ORDER BY id DESC LIMIT :newest)
    WHERE substr(id, :start, length(:prefix)) = :prefix LIMIT :limit
) ORDER BY id DESC
"""

# -- the opening ------------------------------------------------------------------------------------------------------

IDS: Final = "SELECT id FROM jobs INDEXED BY jobs_id"
KEYS: Final = "SELECT key FROM jobs INDEXED BY jobs_key WHERE key IS NOT NULL"
LAST_SEQ: Final = "SELECT ifnull(max(seq), 0) FROM jobs"
LAST_NUMBERS: Final = """
SELECT ifnull((SELECT max(up_number) FROM jobs INDEXED BY jobs_up WHERE up_number > 0 AND up_board = :board), 0),
    ifnull((SELECT max(down_number) FROM jobs INDEXED BY jobs_down WHERE down_number > 0 AND down_board = :board), 0)
"""
COUNT_DOWN: Final = """
SELECT waiting, down_board, down_branch, COUNT(*) FROM jobs INDEXED BY jobs_live
WHERE live = 1 AND down_board IS NOT NULL AND down_branch IS NOT NULL GROUP BY waiting, down_board, down_branch
"""
COUNT_UP: Final = """
SELECT up_board, up_branch, COUNT(*) FROM jobs INDEXED BY jobs_live
WHERE live = 1 AND up_board IS NOT NULL AND up_branch IS NOT NULL GROUP BY up_board, up_branch
"""
STRAYS: Final = """
SELECT up_board, up_number, down_board FROM jobs INDEXED BY jobs_up
WHERE up_board = ? AND up_number > ? AND up_number > 0 AND live = 0 AND role = ? AND down_board IS NOT NULL
ORDER BY up_number
"""
FIRST_DUE: Final = "SELECT min(due_ms) FROM jobs INDEXED BY jobs_live WHERE live = 1"
BOARDS: Final = 'SELECT id, zone, name, fingerprint, record, "check" FROM boards ORDER BY id'
INCARNATIONS: Final = 'SELECT incarnation, first, "check" FROM incarnations ORDER BY place'
CARDS: Final = 'SELECT fingerprint, card, "check" FROM cards'
PINS: Final = 'SELECT zone, route, fingerprint, "check" FROM pins'
PORTALS: Final = 'SELECT zone, portal, fingerprint, "check" FROM portals'
PEERS: Final = 'SELECT fingerprint, zone, record, "check" FROM peers'
INVITATIONS: Final = 'SELECT id, record, "check" FROM invitations'
OWNER: Final = 'SELECT fingerprint, "check" FROM owner'
JOURNAL: Final = "SELECT mark, folded, known FROM journal"
SEAL: Final = 'SELECT "check", folded FROM seal'
SEALED: Final = """
SELECT "check" FROM incarnations UNION ALL SELECT "check" FROM cards UNION ALL SELECT "check" FROM pins
UNION ALL SELECT "check" FROM portals UNION ALL SELECT "check" FROM peers UNION ALL SELECT "check" FROM invitations
UNION ALL SELECT "check" FROM owner
"""
NAMED: Final = "SELECT id, zone, name, fingerprint FROM boards ORDER BY id"
TABLES: Final = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql"
