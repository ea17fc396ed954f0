BEGIN TRANSACTION;
CREATE TABLE charges (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]'),
    cost_ms INTEGER NOT NULL CHECK (cost_ms >= 0),
    job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT;
INSERT INTO "charges" VALUES('f1ba54ae-808b-43ea-83df-74b727333e37','key-1','2026-11',120000,'5880b622-e24c-44ad-9854-a3ab613a8cd0',1794744000000);
INSERT INTO "charges" VALUES('f1ba54ae-808b-43ea-83df-74b727333e37','key-3','2026-11',120000,'745504ed-833e-4aad-8bf8-f86a5f56fa68',1794744000000);
INSERT INTO "charges" VALUES('f1ba54ae-808b-43ea-83df-74b727333e37','key-4','2026-11',120000,'a404babd-d794-4de0-ac29-1c4deefdaaff',1794744000000);
CREATE TABLE credentials (
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
INSERT INTO "credentials" VALUES('0c396c64-71ad-483d-b886-c5604bf9df85','hash',1794744000000);
INSERT INTO "credentials" VALUES('f1ba54ae-808b-43ea-83df-74b727333e37','hash',1794744000000);
CREATE TABLE job_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
INSERT INTO "job_events" VALUES(1,'5880b622-e24c-44ad-9854-a3ab613a8cd0',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(2,'5880b622-e24c-44ad-9854-a3ab613a8cd0',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(3,'5880b622-e24c-44ad-9854-a3ab613a8cd0',1794744000000,'succeeded','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(4,'c84ca255-cb15-444a-82ea-ca4f36f95cb6',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(5,'c84ca255-cb15-444a-82ea-ca4f36f95cb6',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(6,'c84ca255-cb15-444a-82ea-ca4f36f95cb6',1794744000000,'failed','{"attempt":1,"worker":"worker-1","error_code":"tool_failed"}');
INSERT INTO "job_events" VALUES(7,'745504ed-833e-4aad-8bf8-f86a5f56fa68',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(8,'a404babd-d794-4de0-ac29-1c4deefdaaff',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(9,'a404babd-d794-4de0-ac29-1c4deefdaaff',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
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
INSERT INTO "jobs" VALUES(1,'5880b622-e24c-44ad-9854-a3ab613a8cd0','f1ba54ae-808b-43ea-83df-74b727333e37','41caa775-5678-447a-b5cc-c24efaae3b9a','a30cd65e-b08c-4d47-9157-0404df8c1bfb','key-1','succeeded','',1.0,'{"pace": "tight"}','{"duration_ms": 90000, "size_bytes": 400000, "cuts": 7, "words": 210, "language": "en", "files": {"video.mp4": 400000, "captions.vtt": 2000}}',402000,'','',1,3,1,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(2,'c84ca255-cb15-444a-82ea-ca4f36f95cb6','f1ba54ae-808b-43ea-83df-74b727333e37','41caa775-5678-447a-b5cc-c24efaae3b9a',NULL,'key-2','failed','',0.0,'{"pace": "relaxed"}','{}',0,'tool_failed','It broke.',1,3,0,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(3,'745504ed-833e-4aad-8bf8-f86a5f56fa68','f1ba54ae-808b-43ea-83df-74b727333e37','8d98da06-9cd8-493c-b53d-0adb8a1fe88b','e2f15bcc-2e85-40c7-bd5e-4707b902f43f','key-3','queued','',0.0,'{"pace": "tight"}','{}',0,'','',0,3,0,'',NULL,0,1794744000000,1794744000000,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'a404babd-d794-4de0-ac29-1c4deefdaaff','f1ba54ae-808b-43ea-83df-74b727333e37','4f8c3668-ef7c-44df-b0a2-e0590ec1e881','f6bf95a6-4c85-4823-89df-3d8351f3f3b8','key-4','running','',0.0,'{"pace": "tight"}','{}',0,'','',1,3,0,'worker-1',1794744060000,0,1794744000000,1794744000000,1794744000000,NULL);
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
INSERT INTO "links" VALUES('b1ff8f0a-eb5a-4fbf-b715-202f755755bb','reset','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','f1ba54ae-808b-43ea-83df-74b727333e37','user','','0c396c64-71ad-483d-b886-c5604bf9df85',1794744000000,1795348800000,NULL);
CREATE TABLE secrets (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO "secrets" VALUES('cookie_key','secret',1794744000000);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_version INTEGER NOT NULL,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
, tokens TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "sessions" VALUES('0701abf4-5739-4d24-8c20-58be33757215','f1ba54ae-808b-43ea-83df-74b727333e37',1,'Firefox on Linux',1794744000000,1794744000000,1795348800000,'');
CREATE TABLE tallies (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    PRIMARY KEY (name, label)
) STRICT, WITHOUT ROWID;
INSERT INTO "tallies" VALUES('ended','failed',1,0.0);
INSERT INTO "tallies" VALUES('ended','succeeded',1,0.0);
INSERT INTO "tallies" VALUES('failed','tool_failed',1,0.0);
INSERT INTO "tallies" VALUES('video','',1,120.0);
INSERT INTO "tallies" VALUES('wait','',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','1',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','10800',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','15',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','1800',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','300',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','3600',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','43200',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','5',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','60',3,0.0);
INSERT INTO "tallies" VALUES('wait_le','900',3,0.0);
INSERT INTO "tallies" VALUES('work','',1,0.0);
INSERT INTO "tallies" VALUES('work_le','10',1,0.0);
INSERT INTO "tallies" VALUES('work_le','10800',1,0.0);
INSERT INTO "tallies" VALUES('work_le','120',1,0.0);
INSERT INTO "tallies" VALUES('work_le','1800',1,0.0);
INSERT INTO "tallies" VALUES('work_le','30',1,0.0);
INSERT INTO "tallies" VALUES('work_le','300',1,0.0);
INSERT INTO "tallies" VALUES('work_le','3600',1,0.0);
INSERT INTO "tallies" VALUES('work_le','43200',1,0.0);
INSERT INTO "tallies" VALUES('work_le','60',1,0.0);
INSERT INTO "tallies" VALUES('work_le','600',1,0.0);
CREATE TABLE throttles (
    key TEXT PRIMARY KEY NOT NULL,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    last_failure_at INTEGER NOT NULL
) STRICT;
INSERT INTO "throttles" VALUES('account:ann',1,NULL,1794744000000);
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
INSERT INTO "uploads" VALUES('6ae6dc25-0b11-4077-9094-027868325065','f1ba54ae-808b-43ea-83df-74b727333e37','9cc08303-54c7-4441-ac3a-3111e730f0af','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','receiving',NULL,'','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('a30cd65e-b08c-4d47-9157-0404df8c1bfb','f1ba54ae-808b-43ea-83df-74b727333e37','41caa775-5678-447a-b5cc-c24efaae3b9a','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','5880b622-e24c-44ad-9854-a3ab613a8cd0','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('e2f15bcc-2e85-40c7-bd5e-4707b902f43f','f1ba54ae-808b-43ea-83df-74b727333e37','8d98da06-9cd8-493c-b53d-0adb8a1fe88b','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','745504ed-833e-4aad-8bf8-f86a5f56fa68','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('f6bf95a6-4c85-4823-89df-3d8351f3f3b8','f1ba54ae-808b-43ea-83df-74b727333e37','4f8c3668-ef7c-44df-b0a2-e0590ec1e881','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','a404babd-d794-4de0-ac29-1c4deefdaaff','','',1794744000000,1794744000000);
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
INSERT INTO "users" VALUES('0c396c64-71ad-483d-b886-c5604bf9df85','boss','Boss','admin',1,NULL,NULL,'{}',1,1794744000000);
INSERT INTO "users" VALUES('f1ba54ae-808b-43ea-83df-74b727333e37','ann','Ann','user',1,NULL,NULL,'{}',1,1794744000000);
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
INSERT INTO "videos" VALUES(1,'41caa775-5678-447a-b5cc-c24efaae3b9a','f1ba54ae-808b-43ea-83df-74b727333e37','Finished','A note','["one", "zw\u00f6lf"]','2026-11-01','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','c84ca255-cb15-444a-82ea-ca4f36f95cb6','5880b622-e24c-44ad-9854-a3ab613a8cd0','en',210,7,90000,400000,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(2,'8d98da06-9cd8-493c-b53d-0adb8a1fe88b','f1ba54ae-808b-43ea-83df-74b727333e37','Waiting','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','745504ed-833e-4aad-8bf8-f86a5f56fa68',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(3,'4f8c3668-ef7c-44df-b0a2-e0590ec1e881','f1ba54ae-808b-43ea-83df-74b727333e37','Running','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','a404babd-d794-4de0-ac29-1c4deefdaaff',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
CREATE TABLE workers (
    id TEXT PRIMARY KEY NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    info TEXT NOT NULL CHECK (json_valid(info))
) STRICT;
INSERT INTO "workers" VALUES('w','h',1,1794744000000,1794744000000,'{"cores": 2}');
CREATE INDEX sessions_of_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX links_of_user ON links (user_id);
CREATE INDEX uploads_of_user ON uploads (user_id, created_at);
CREATE INDEX uploads_by_state ON uploads (state, updated_at);
CREATE INDEX videos_of_user ON videos (user_id, created_at);
CREATE INDEX videos_by_age ON videos (created_at);
CREATE INDEX jobs_of_user ON jobs (user_id, charge_key);
CREATE INDEX jobs_of_video ON jobs (video_id, user_id);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_start ON jobs (started_at) WHERE started_at IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (created_at);
CREATE INDEX jobs_stored ON jobs (user_id, stored_bytes) WHERE stored_bytes > 0;
CREATE UNIQUE INDEX jobs_one_active ON jobs (video_id) WHERE status IN ('queued', 'running');
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
CREATE TRIGGER jobs_changed AFTER UPDATE OF status, attempt ON jobs
WHEN OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt
BEGIN
    INSERT INTO job_events (job_id, at, event, data) VALUES (
        NEW.id, NEW.updated_at, NEW.status,
        json_object('attempt', NEW.attempt, 'worker', NEW.worker_id, 'error_code', NEW.error_code)
    );
END;
CREATE INDEX charges_of_month ON charges (user_id, period, cost_ms);
CREATE INDEX charges_of_job ON charges (job_id);
CREATE INDEX jobs_worked_on ON jobs (user_id, finished_at) WHERE finished_at IS NOT NULL AND started_at IS NOT NULL;
CREATE TRIGGER jobs_tallied_at_start AFTER UPDATE OF status ON jobs
WHEN OLD.status = 'queued' AND NEW.status = 'running' AND NEW.attempt = 1
BEGIN
    INSERT INTO tallies SELECT 'wait', '', 1, max(0, NEW.started_at - NEW.created_at) / 1000.0 WHERE true
    ON CONFLICT DO UPDATE SET count = count + 1, total = total + excluded.total;
    INSERT INTO tallies
    SELECT 'wait_le', CAST(value AS TEXT), 1, 0
    FROM json_each('[1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 43200]')
    WHERE NEW.started_at - NEW.created_at <= value * 1000
    ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER jobs_tallied_at_end AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NEW.finished_at IS NOT NULL
BEGIN
    INSERT INTO tallies SELECT 'ended', NEW.status, 1, 0 WHERE true
    ON CONFLICT DO UPDATE SET count = count + 1;
    INSERT INTO tallies SELECT 'failed', NEW.error_code, 1, 0 WHERE NEW.status = 'failed'
    ON CONFLICT DO UPDATE SET count = count + 1;
    INSERT INTO tallies SELECT 'work', '', 1, max(0, NEW.finished_at - NEW.started_at) / 1000.0
    WHERE NEW.status = 'succeeded'
    ON CONFLICT DO UPDATE SET count = count + 1, total = total + excluded.total;
    INSERT INTO tallies
    SELECT 'work_le', CAST(value AS TEXT), 1, 0
    FROM json_each('[10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200]')
    WHERE NEW.status = 'succeeded' AND NEW.finished_at - NEW.started_at <= value * 1000
    ON CONFLICT DO UPDATE SET count = count + 1;
    INSERT INTO tallies SELECT 'video', '', 1, duration_ms / 1000.0 FROM videos
    WHERE id = NEW.video_id AND NEW.status = 'succeeded'
    ON CONFLICT DO UPDATE SET count = count + 1, total = total + excluded.total;
    INSERT INTO tallies SELECT 'stage', key, 1, CAST(value AS REAL) FROM json_each(NEW.result, '$.timings')
    WHERE NEW.status = 'succeeded' AND key <> 'seconds' AND type IN ('integer', 'real')
    ON CONFLICT DO UPDATE SET count = count + 1, total = total + excluded.total;
END;
CREATE TRIGGER job_events_tallied AFTER INSERT ON job_events
WHEN NEW.event = 'worker_lost'
BEGIN
    INSERT INTO tallies SELECT 'given_back', coalesce(json_extract(NEW.data, '$.reason'), ''), 1, 0 WHERE true
    ON CONFLICT DO UPDATE SET count = count + 1;
END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('videos',3);
INSERT INTO "sqlite_sequence" VALUES('job_events',9);
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
PRAGMA user_version = 4;
