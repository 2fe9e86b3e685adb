-- Exactly once: a batch's key and hash stand in the same transaction as its rows. No row below has a key of its own to
-- deduplicate by; a duplicate that slipped through would be seen by counting (tag_id, boot_id, sequence).
CREATE TABLE batches (
    gateway_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    rows INTEGER NOT NULL,
    created_at REAL NOT NULL,
    received_at REAL NOT NULL,
    PRIMARY KEY (gateway_id, epoch, sequence)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    stored_digest TEXT NOT NULL,
    offered_digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    rows INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    times INTEGER NOT NULL,
    body BLOB, -- the offered bytes, zstd; null beyond the bound of bodies kept
    UNIQUE (gateway_id, epoch, sequence, offered_digest)
);

CREATE TABLE gateways (
    gateway_id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    added_at REAL NOT NULL,
    epoch TEXT,
    received_at REAL,          -- of its last batch, by the cloud's clock
    batches INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0,
    ahead INTEGER NOT NULL DEFAULT 0, -- rows dated in the future
    dropped TEXT               -- rows the gateway had to let go, by storage class, since its epoch began
) WITHOUT ROWID;

CREATE TABLE registry (
    revision INTEGER PRIMARY KEY,
    imported_at REAL NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE readings (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    tag_id TEXT NOT NULL,
    boot_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    transport TEXT NOT NULL,
    measured_at REAL NOT NULL,
    active_power_w REAL, voltage_v REAL, current_a REAL, power_factor REAL, frequency_hz REAL, energy_wh REAL, peak_current_a REAL,
    temperature_c REAL, relative_humidity_pct REAL, pressure_hpa REAL, voc_index REAL, co2_ppm REAL, formaldehyde_ppb REAL,
    pm1_ug_m3 REAL, pm2_5_ug_m3 REAL, pm10_ug_m3 REAL,
    detail TEXT
);
CREATE INDEX readings_by_time ON readings (tag_id, measured_at);
CREATE INDEX readings_by_sequence ON readings (tag_id, boot_id, transport, sequence);

CREATE TABLE states (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    tag_id TEXT,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    reason TEXT,
    detail TEXT
);
CREATE INDEX states_by_time ON states (device_id, since);

CREATE TABLE placements (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    tag_id TEXT,
    room_id TEXT,
    since REAL NOT NULL,
    rssi_dbm REAL,
    detail TEXT
);
CREATE INDEX placements_by_time ON placements (device_id, since);

CREATE TABLE alarms (
    gateway_id TEXT NOT NULL,
    alarm_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    raised_at REAL NOT NULL,
    cleared_at REAL,
    "value" REAL,
    "limit" REAL,
    unit TEXT,
    detail TEXT,
    PRIMARY KEY (gateway_id, alarm_id)
) WITHOUT ROWID;
CREATE INDEX alarms_open ON alarms (raised_at) WHERE cleared_at IS NULL;
CREATE INDEX alarms_by_time ON alarms (raised_at);

CREATE TABLE summaries (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    subject TEXT NOT NULL,
    minute_start REAL NOT NULL,
    samples INTEGER NOT NULL,
    active_power_w REAL, voltage_v REAL, current_a REAL, power_factor REAL, frequency_hz REAL, energy_wh REAL, peak_current_a REAL,
    temperature_c REAL, relative_humidity_pct REAL, pressure_hpa REAL, voc_index REAL, co2_ppm REAL, formaldehyde_ppb REAL,
    pm1_ug_m3 REAL, pm2_5_ug_m3 REAL, pm10_ug_m3 REAL,
    active_power_w_min REAL, active_power_w_max REAL,
    seconds_by_state TEXT,
    detail TEXT
);
CREATE INDEX summaries_by_time ON summaries (subject, minute_start);

CREATE TABLE health (
    id INTEGER PRIMARY KEY,
    gateway_id TEXT NOT NULL,
    ahead INTEGER NOT NULL,
    "at" REAL NOT NULL,
    clock_state TEXT,
    queue_depth INTEGER,
    disk_bytes INTEGER,
    tags_heard INTEGER,
    rejected INTEGER,
    detail TEXT
);
CREATE INDEX health_by_time ON health (gateway_id, "at");
