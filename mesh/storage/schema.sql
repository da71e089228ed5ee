-- The store of one agent, schema 4.
--
-- A job is one row: the blobs `record` and `facts` are the truth, guarded by "check"; the columns before them are there
-- to find it. Its rowid is `seq`, which rises, and its id begins with a time, so that new rows and new entries of the
-- indexes go to the end of their trees: one commit of many jobs then touches few pages.
--
-- Every other index is partial, so that a row stands only in those that can be asked for it in its present state.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    role INTEGER NOT NULL,
    state INTEGER NOT NULL,
    live INTEGER NOT NULL,
    up_board INTEGER,
    up_number INTEGER NOT NULL,
    down_board INTEGER,
    down_number INTEGER NOT NULL,
    up_branch TEXT,
    down_branch TEXT,
    waiting INTEGER NOT NULL,
    due_ms INTEGER,
    key TEXT,
    record BLOB NOT NULL,
    facts BLOB,
    "check" INTEGER NOT NULL
) STRICT;

-- By id (de-duplication), and scanned for the short ids that people type.
CREATE UNIQUE INDEX jobs_id ON jobs (id);
-- By the idempotency key of a put.
CREATE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL;
-- The outgoing sequence of a board, in both directions.
CREATE INDEX jobs_up ON jobs (up_board, up_number) WHERE up_number > 0;
CREATE INDEX jobs_down ON jobs (down_board, down_number) WHERE down_number > 0;
-- Requests that have no number yet, per branch, in the order they came.
CREATE INDEX jobs_waiting ON jobs (down_board, down_branch) WHERE waiting = 1;
-- All that a board shares, in the order it came: for a full exchange and for what is unfinished after a start.
CREATE INDEX jobs_shared_up ON jobs (up_board) WHERE facts IS NOT NULL;
CREATE INDEX jobs_shared_down ON jobs (down_board) WHERE facts IS NOT NULL;
-- Live jobs: what falls due, and every count that a start needs, without a look at the rows.
CREATE INDEX jobs_live ON jobs (due_ms, up_board, up_branch, down_board, down_branch, waiting) WHERE live = 1;
-- Finished jobs, by the end of their horizon.
CREATE INDEX jobs_over ON jobs (role, due_ms) WHERE live = 0;

-- Each row of the tables below carries a hash of itself in "check" (see checks.py).

CREATE TABLE boards (
    id INTEGER PRIMARY KEY,
    zone TEXT NOT NULL,
    name TEXT NOT NULL,
    fingerprint BLOB,
    record BLOB NOT NULL,
    "check" BLOB NOT NULL
) STRICT;

-- The openings of this store, oldest first.
CREATE TABLE incarnations (
    place INTEGER PRIMARY KEY,
    incarnation BLOB NOT NULL,
    first INTEGER NOT NULL,
    "check" BLOB NOT NULL
) STRICT;

CREATE TABLE cards (
    fingerprint BLOB PRIMARY KEY,
    card BLOB NOT NULL,
    "check" BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Who an agent down a route is, and which origin speaks for a portal.
CREATE TABLE pins (
    zone TEXT NOT NULL,
    route TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    "check" BLOB NOT NULL,
    PRIMARY KEY (zone, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE portals (
    zone TEXT NOT NULL,
    portal TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    "check" BLOB NOT NULL,
    PRIMARY KEY (zone, portal)
) STRICT, WITHOUT ROWID;

-- The peer book. These records hold secrets; the file is for its owner alone.
CREATE TABLE peers (
    fingerprint BLOB NOT NULL,
    zone TEXT NOT NULL,
    record BLOB NOT NULL,
    "check" BLOB NOT NULL,
    PRIMARY KEY (fingerprint, zone)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    id BLOB PRIMARY KEY,
    record BLOB NOT NULL,
    "check" BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose store this is.
CREATE TABLE owner (
    place INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    "check" BLOB NOT NULL
) STRICT;

-- Over the checks of all these tables, and what names the boards, so that a row that is gone or old is noticed too.
-- `folded` is the last place of the journal that the tables hold (journal.py).
CREATE TABLE seal (
    place INTEGER PRIMARY KEY,
    "check" BLOB NOT NULL,
    folded INTEGER NOT NULL
) STRICT;

-- The random mark that the journal of this store bears; and `folded` once more, on another page: an old copy of either
-- would have the journal of that time folded again. `known` is the last place that was given when that was written.
CREATE TABLE journal (
    place INTEGER PRIMARY KEY,
    mark BLOB NOT NULL,
    folded INTEGER NOT NULL,
    known INTEGER NOT NULL
) STRICT;

-- Blobs: their bytes are in slices, in the order they came, so that the rows of jobs stay small; "check" guards what
-- never changes of a row.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    job BLOB NOT NULL,
    kind INTEGER NOT NULL,
    hash BLOB NOT NULL,
    length INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    board INTEGER NOT NULL,
    held INTEGER NOT NULL,
    named INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    owed INTEGER,
    at_ms INTEGER NOT NULL,
    "check" BLOB NOT NULL
) STRICT;

CREATE INDEX blobs_job ON blobs (job, kind);
-- What an agent has to know of at its start, and what has yet to go on.
CREATE INDEX blobs_under_way ON blobs (job) WHERE named = 0 OR owed IS NOT NULL;
CREATE INDEX blobs_owed ON blobs (job) WHERE owed IS NOT NULL;
CREATE INDEX blobs_counted ON blobs (board, kind, depth, length) WHERE counted = 1;

-- A slice's id is that of its blob and its offset, 32 bits each. Its bytes are in a slot of the file beside this one
-- (slots.py), or in `data` where they are few; "check" guards them and their place in the blob.
CREATE TABLE slices (
    id INTEGER PRIMARY KEY,
    slot INTEGER,
    size INTEGER NOT NULL,
    "check" BLOB NOT NULL,
    data BLOB
) STRICT;

-- A job that is collected takes its blobs along, and a blob its slices.
CREATE TRIGGER jobs_collected AFTER DELETE ON jobs BEGIN
    DELETE FROM blobs WHERE job = OLD.id;
END;

CREATE TRIGGER blobs_dropped AFTER DELETE ON blobs BEGIN
    DELETE FROM slices WHERE id >= OLD.id << 32 AND id < (OLD.id + 1) << 32;
END;
