-- Times are epoch milliseconds (UTC), durations milliseconds, sizes bytes, ids UUID4 in text, JSON is text.

CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    username TEXT NOT NULL UNIQUE CHECK (username <> '' AND username = lower(username)),
    full_name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    quota_minutes INTEGER CHECK (quota_minutes >= 0),
    quota_bytes INTEGER CHECK (quota_bytes >= 0),
    options TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
    token_version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT;

-- Apart from the accounts, so that no list of users ever carries a hash.
CREATE TABLE credentials (
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_version INTEGER NOT NULL,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE links (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('invitation', 'reset')),
    token_hash TEXT NOT NULL UNIQUE,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    note TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    CHECK ((kind = 'reset') = (user_id IS NOT NULL))
) STRICT;
CREATE INDEX links_of_user ON links (user_id);

CREATE TABLE throttles (
    key TEXT PRIMARY KEY NOT NULL,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    last_failure_at INTEGER NOT NULL
) STRICT;

CREATE TABLE uploads (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    video_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    fingerprint TEXT NOT NULL,
    options TEXT NOT NULL CHECK (json_valid(options)),
    state TEXT NOT NULL DEFAULT 'receiving' CHECK (state IN ('receiving', 'checking', 'done', 'refused')),
    job_id TEXT,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK (state <> 'done' OR job_id IS NOT NULL)
) STRICT;
CREATE INDEX uploads_of_user ON uploads (user_id, created_at);
CREATE INDEX uploads_by_state ON uploads (state, updated_at);

-- newest_job_id and current_job_id are no foreign keys: a job goes only together with its video.
CREATE TABLE videos (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    recorded_on TEXT NOT NULL DEFAULT '',
    file_name TEXT NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    fps TEXT NOT NULL,
    video_codec TEXT NOT NULL,
    audio_tracks INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    sha256 TEXT NOT NULL,
    newest_job_id TEXT,
    current_job_id TEXT,
    -- of the current job's result
    language TEXT NOT NULL DEFAULT '',
    words INTEGER,
    cuts INTEGER,
    result_ms INTEGER,
    result_bytes INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (id, user_id)
) STRICT;
CREATE INDEX videos_of_user ON videos (user_id, created_at);
CREATE INDEX videos_by_age ON videos (created_at);

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    video_id TEXT NOT NULL,
    idempotency_key TEXT,
    charge_key TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    stage TEXT NOT NULL DEFAULT '',
    progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    options TEXT NOT NULL CHECK (json_valid(options)),
    result TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(result)),
    stored_bytes INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 3,
    stored_attempt INTEGER NOT NULL DEFAULT 0,
    worker_id TEXT NOT NULL DEFAULT '',
    lease_until INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    UNIQUE (video_id, idempotency_key),
    FOREIGN KEY (video_id, user_id) REFERENCES videos (id, user_id) ON DELETE CASCADE,
    CHECK (attempt BETWEEN 0 AND max_attempts),
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (status NOT IN ('running', 'succeeded') OR started_at IS NOT NULL)
) STRICT;
CREATE INDEX jobs_of_user ON jobs (user_id, charge_key);
CREATE INDEX jobs_of_video ON jobs (video_id, user_id);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_start ON jobs (started_at) WHERE started_at IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (created_at);
CREATE INDEX jobs_stored ON jobs (user_id, stored_bytes) WHERE stored_bytes > 0;
CREATE UNIQUE INDEX jobs_one_active ON jobs (video_id) WHERE status IN ('queued', 'running');

CREATE TABLE job_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
CREATE INDEX job_events_of_job ON job_events (job_id);

CREATE TRIGGER jobs_status_machine BEFORE UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NOT (
    (OLD.status = 'queued' AND NEW.status IN ('running', 'cancelled', 'failed'))
    OR (OLD.status = 'running' AND NEW.status IN ('succeeded', 'failed', 'cancelled', 'queued'))
)
BEGIN
    SELECT RAISE(ABORT, 'a job does not go from that status to this one');
END;

CREATE TRIGGER jobs_created AFTER INSERT ON jobs
BEGIN
    UPDATE videos SET newest_job_id = NEW.id WHERE id = NEW.video_id;
    INSERT INTO job_events (job_id, at, event, data) VALUES (NEW.id, NEW.created_at, NEW.status, '{}');
END;

-- A takeover of a lost job stays at running; its attempt tells.
CREATE TRIGGER jobs_changed AFTER UPDATE OF status, attempt ON jobs
WHEN OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt
BEGIN
    INSERT INTO job_events (job_id, at, event, data) VALUES (
        NEW.id, NEW.updated_at, NEW.status,
        json_object('attempt', NEW.attempt, 'worker', NEW.worker_id, 'error_code', NEW.error_code)
    );
END;

-- Minutes taken. A charge without a job is for work that was done and whose video is gone.
CREATE TABLE charges (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]'),
    cost_ms INTEGER NOT NULL CHECK (cost_ms >= 0),
    job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT;
CREATE INDEX charges_of_month ON charges (user_id, period, cost_ms);
CREATE INDEX charges_of_job ON charges (job_id);

CREATE TABLE workers (
    id TEXT PRIMARY KEY NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    info TEXT NOT NULL CHECK (json_valid(info))
) STRICT;

CREATE TABLE secrets (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
