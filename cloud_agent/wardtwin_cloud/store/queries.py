"""Every SELECT of the store, by name. Plain SQL that PostgreSQL speaks too, but for its parameter marks."""

MAX_GAPS = 20

GATEWAYS = """
SELECT g.*, (SELECT count(*) FROM quarantine q WHERE q.gateway_id = g.gateway_id) AS quarantined
FROM gateways g ORDER BY gateway_id"""

CHANGE_MARKER = """
SELECT (SELECT coalesce(max(revision), 0) FROM registry) AS revision,
       (SELECT count(*) FROM gateways) AS gateways,
       (SELECT coalesce(max(added_at), 0.0) FROM gateways) AS added_at"""

LATEST_READINGS = "SELECT * FROM readings WHERE tag_id = ? AND ahead = 0 ORDER BY measured_at DESC, id DESC LIMIT ?"

_SKIP = """
WITH RECURSIVE subjects(subject) AS (
    SELECT min({key}) FROM {table}
    UNION ALL
    SELECT (SELECT min({key}) FROM {table} WHERE {key} > subject) FROM subjects WHERE subject IS NOT NULL
)"""

_LATEST = (
    _SKIP
    + """
SELECT t.* FROM subjects JOIN {table} t ON t.id = (
    SELECT id FROM {table} WHERE {key} = subject AND ahead = 0 ORDER BY {time} DESC, id DESC LIMIT 1
)"""
)

LATEST_STATES = _LATEST.format(table="states", key="device_id", time="since")
LATEST_PLACEMENTS = _LATEST.format(table="placements", key="device_id", time="since")
LATEST_HEALTH = _LATEST.format(table="health", key="gateway_id", time='"at"')
TAG_IDS = _SKIP.format(table="readings", key="tag_id") + " SELECT subject AS tag_id FROM subjects"

OPEN_ALARMS = "SELECT * FROM alarms WHERE cleared_at IS NULL ORDER BY raised_at DESC LIMIT ?"
ALARMS = "SELECT * FROM alarms WHERE raised_at < ? ORDER BY raised_at DESC LIMIT ?"

STATE_AT = "SELECT * FROM states WHERE device_id = ? AND since < ? ORDER BY since DESC, id DESC LIMIT 1"
STATES = "SELECT * FROM states WHERE device_id = ? AND since >= ? AND since < ? ORDER BY since, id LIMIT ?"

BOUND_SINCE = "SELECT tag_id, max(since) AS since FROM bindings GROUP BY tag_id"
SPANS = """
SELECT tag_id, since, until FROM (
    SELECT tag_id, subject, since, lead(since) OVER (PARTITION BY tag_id ORDER BY since) AS until FROM bindings
    WHERE tag_id IN (SELECT tag_id FROM bindings WHERE subject = ?)
) AS bound WHERE subject = ? AND since < ? AND (until IS NULL OR until > ?) ORDER BY since, tag_id"""
BOUND_TO = """
SELECT tag_id, subject, since FROM bindings AS b
WHERE since = (SELECT max(since) FROM bindings WHERE tag_id = b.tag_id)"""
TOKENS = "SELECT name, fingerprint, added_at FROM tokens ORDER BY name"

SPAN = "(tag_id = ? AND measured_at >= ? AND measured_at < ?)"
READINGS = """
SELECT * FROM readings WHERE {spans} ORDER BY measured_at, id LIMIT ?"""
READING_BUCKETS = """
SELECT ? + ? * bucket AS bucket_start, samples, active_power_w, active_power_w_min, active_power_w_max
FROM (
    SELECT CAST((measured_at - ?) / ? AS INTEGER) AS bucket, count(*) AS samples, avg(active_power_w) AS active_power_w,
           min(active_power_w) AS active_power_w_min, max(active_power_w) AS active_power_w_max
    FROM readings WHERE ({spans}) AND active_power_w IS NOT NULL
    GROUP BY 1
) AS buckets ORDER BY bucket_start"""

SUMMARIES = "SELECT * FROM summaries WHERE subject = ? AND minute_start >= ? AND minute_start < ? ORDER BY minute_start, id LIMIT ?"

SUMMARY_BUCKETS = """
SELECT ? + ? * bucket AS bucket_start, samples, active_power_w, active_power_w_min, active_power_w_max FROM (
    SELECT CAST((minute_start - ?) / ? AS INTEGER) AS bucket, sum(samples) AS samples,
           sum(active_power_w * samples) / sum(samples) AS active_power_w,
           min(coalesce(active_power_w_min, active_power_w)) AS active_power_w_min,
           max(coalesce(active_power_w_max, active_power_w)) AS active_power_w_max
    FROM summaries
    WHERE subject = ? AND minute_start >= ? AND minute_start < ? AND active_power_w IS NOT NULL AND samples > 0
    GROUP BY 1
) AS buckets ORDER BY bucket_start"""

SEQUENCES = """
SELECT tag_id, boot_id, transport, count(*) AS count, count(DISTINCT sequence) AS "distinct",
       min(sequence) AS first, max(sequence) AS last
FROM readings WHERE (? IS NULL OR tag_id = ?) GROUP BY tag_id, boot_id, transport ORDER BY tag_id, boot_id, transport"""

GAPS = """
SELECT tag_id, boot_id, transport, sequence + 1 AS gap_first, following - 1 AS gap_last FROM (
    SELECT tag_id, boot_id, transport, sequence,
           lead(sequence) OVER (PARTITION BY tag_id, boot_id, transport ORDER BY sequence) AS following
    FROM readings WHERE (? IS NULL OR tag_id = ?)
) AS pairs WHERE following > sequence + 1 ORDER BY tag_id, boot_id, transport, gap_first"""

QUARANTINE = """
SELECT id, gateway_id, epoch, sequence, stored_digest, offered_digest, kind, rows, first_at, last_at, times,
       body IS NOT NULL AS body_kept
FROM quarantine ORDER BY last_at DESC LIMIT ?"""
