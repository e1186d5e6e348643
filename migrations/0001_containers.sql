-- Wishes and facts of one machine. Forward only: never edited after a release.
-- Times are RFC 3339 text in UTC; documents are JSON text; `resource_version` and `events.sequence` are drawn from one counter.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    id               TEXT PRIMARY KEY NOT NULL,   -- sha256 of `config`, 64 hexadecimal digits
    reference_names  TEXT NOT NULL,               -- JSON list, normalised
    layers           TEXT NOT NULL,               -- JSON list of {diffId, size}, lowest first
    config           TEXT NOT NULL,               -- the OCI image configuration, byte for byte
    origin           TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    generation       INTEGER NOT NULL,
    resource_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Work that makes something on disk whose name is not known before it is done. What is still here at a start was cut short.
CREATE TABLE intents (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Layers on disk; a row outlives its last image until the folder is gone.
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY NOT NULL,            -- 64 hexadecimal digits
    size    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE containers (
    uid                TEXT PRIMARY KEY NOT NULL, -- 32 hexadecimal digits; names every kernel object
    name               TEXT NOT NULL,
    labels             TEXT NOT NULL,
    annotations        TEXT NOT NULL,
    created_at         TEXT NOT NULL,
    deletion_timestamp TEXT,
    generation         INTEGER NOT NULL,
    resource_version   INTEGER NOT NULL,
    image              TEXT NOT NULL REFERENCES images (id),
    spec               TEXT NOT NULL,             -- the user's own JSON
    desired            TEXT NOT NULL,
    status             TEXT NOT NULL,
    progress           TEXT NOT NULL,
    uid_slot           INTEGER UNIQUE,            -- its range is uid_slot * 65536 and the 65535 after it
    buried             INTEGER NOT NULL DEFAULT 0 -- gone for users, not yet for the machine
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX containers_name ON containers (name) WHERE buried = 0;

CREATE TABLE volumes (
    uid              TEXT PRIMARY KEY NOT NULL,
    name             TEXT NOT NULL UNIQUE,
    labels           TEXT NOT NULL,
    annotations      TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    resource_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    name             TEXT PRIMARY KEY NOT NULL,
    uid              TEXT NOT NULL UNIQUE,
    role             TEXT NOT NULL,
    hash             TEXT NOT NULL UNIQUE,        -- sha256 of the secret, hexadecimal
    created_at       TEXT NOT NULL,
    last_used_at     TEXT,
    resource_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       TEXT PRIMARY KEY NOT NULL,         -- sha256 of the session's id, hexadecimal
    token_uid  TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence   INTEGER PRIMARY KEY NOT NULL,
    time       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        TEXT NOT NULL,
    reason     TEXT NOT NULL,
    document   TEXT NOT NULL                      -- the event as it goes out
) STRICT;

CREATE TABLE idempotency_keys (
    key          TEXT PRIMARY KEY NOT NULL,
    request_hash TEXT NOT NULL,                   -- sha256 of method, path, query and body, hexadecimal
    status       INTEGER NOT NULL,
    headers      TEXT NOT NULL,                   -- JSON list of [name, value]
    body         BLOB NOT NULL,
    created_at   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
