-- Who may make tags known. A token is stored as its hash; a revoked one is gone.
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    added_at REAL NOT NULL
) WITHOUT ROWID;

-- What a tag sat on, and since when: the rows it sent before a move belong to what it sat on then.
-- `subject` is device:<id>, room:<id>, or empty: on nothing.
CREATE TABLE bindings (
    tag_id TEXT NOT NULL,
    since REAL NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (tag_id, since)
) WITHOUT ROWID;
CREATE INDEX bindings_by_subject ON bindings (subject);
INSERT INTO bindings
SELECT json_extract(tag.value, '$.tag_id'), 0.0,
       coalesce('device:' || json_extract(tag.value, '$.device_id'), 'room:' || json_extract(tag.value, '$.room_id'), '')
FROM registry, json_each(registry.body, '$.tags') AS tag
WHERE registry.revision = (SELECT max(revision) FROM registry);

-- A gateway's epochs in the order they were first heard: their names are random, and clocks may be wrong.
CREATE TABLE epochs (
    gateway_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (gateway_id, epoch)
) WITHOUT ROWID;
INSERT INTO epochs
SELECT gateway_id, epoch, row_number() OVER (PARTITION BY gateway_id ORDER BY min(received_at), epoch) FROM batches GROUP BY gateway_id, epoch;

-- A minute may come again, revised: one row stays, that of the latest batch. Until now the last to come is the best known.
ALTER TABLE summaries ADD COLUMN epoch_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE summaries ADD COLUMN batch_sequence INTEGER NOT NULL DEFAULT 0;
DELETE FROM summaries WHERE id NOT IN (SELECT max(id) FROM summaries GROUP BY gateway_id, subject, minute_start);
CREATE UNIQUE INDEX summaries_once ON summaries (gateway_id, subject, minute_start);
