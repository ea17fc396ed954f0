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
INSERT INTO "charges" VALUES('d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','key-1','2026-11',120000,'e1784335-cbb2-42bc-ba3f-7a2f7627a58e',1794744000000);
INSERT INTO "charges" VALUES('d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','key-3','2026-11',120000,'db73dc36-b671-4226-b67a-6d1d539e6671',1794744000000);
INSERT INTO "charges" VALUES('d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','key-4','2026-11',120000,'cf11db9b-890c-4379-9d31-9e578a265ec9',1794744000000);
CREATE TABLE credentials (
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
INSERT INTO "credentials" VALUES('8b34db5f-b016-4c50-b564-18cd8b4b3449','hash',1794744000000);
INSERT INTO "credentials" VALUES('d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','hash',1794744000000);
CREATE TABLE job_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
INSERT INTO "job_events" VALUES(1,'e1784335-cbb2-42bc-ba3f-7a2f7627a58e',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(2,'e1784335-cbb2-42bc-ba3f-7a2f7627a58e',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(3,'e1784335-cbb2-42bc-ba3f-7a2f7627a58e',1794744000000,'succeeded','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(4,'39fdb7ec-34e6-42f2-9ad9-4097d14feb2c',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(5,'39fdb7ec-34e6-42f2-9ad9-4097d14feb2c',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(6,'39fdb7ec-34e6-42f2-9ad9-4097d14feb2c',1794744000000,'failed','{"attempt":1,"worker":"worker-1","error_code":"tool_failed"}');
INSERT INTO "job_events" VALUES(7,'db73dc36-b671-4226-b67a-6d1d539e6671',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(8,'cf11db9b-890c-4379-9d31-9e578a265ec9',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(9,'cf11db9b-890c-4379-9d31-9e578a265ec9',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
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
INSERT INTO "jobs" VALUES(1,'e1784335-cbb2-42bc-ba3f-7a2f7627a58e','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','5fd8b24f-fef5-4f42-bdb9-b1962296d397','fb848d80-dd0a-465a-ac47-013cfbbf3950','key-1','succeeded','',1.0,'{"pace": "tight"}','{"duration_ms": 90000, "size_bytes": 400000, "cuts": 7, "words": 210, "language": "en", "files": {"video.mp4": 400000, "captions.vtt": 2000}}',402000,'','',1,3,1,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(2,'39fdb7ec-34e6-42f2-9ad9-4097d14feb2c','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','5fd8b24f-fef5-4f42-bdb9-b1962296d397',NULL,'key-2','failed','',0.0,'{"pace": "relaxed"}','{}',0,'tool_failed','It broke.',1,3,0,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(3,'db73dc36-b671-4226-b67a-6d1d539e6671','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','d5c17f96-bdc8-4677-8d2b-2b5b6ea95070','55f2afc0-e93e-4be6-bb4e-4fcca3c5bd7a','key-3','queued','',0.0,'{"pace": "tight"}','{}',0,'','',0,3,0,'',NULL,0,1794744000000,1794744000000,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'cf11db9b-890c-4379-9d31-9e578a265ec9','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','5823698a-377a-4e84-abf9-68ba656265ad','def0c8a4-5b56-4ba6-9b5c-a4ace0e5cb43','key-4','running','',0.0,'{"pace": "tight"}','{}',0,'','',1,3,0,'worker-1',1794744060000,0,1794744000000,1794744000000,1794744000000,NULL);
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
INSERT INTO "links" VALUES('e26ff0d5-2d84-4505-afb8-37970f0b8970','reset','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','user','','8b34db5f-b016-4c50-b564-18cd8b4b3449',1794744000000,1795348800000,NULL);
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
INSERT INTO "sessions" VALUES('11ea76be-60db-4b17-9f72-0628fbd6a56f','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4',1,'Firefox on Linux',1794744000000,1794744000000,1795348800000,'');
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
INSERT INTO "uploads" VALUES('1db09efa-2b04-4a4d-815b-f9b6a066d71b','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','6f647b8e-e77b-4d69-9301-e069ff8c02b3','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','receiving',NULL,'','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('fb848d80-dd0a-465a-ac47-013cfbbf3950','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','5fd8b24f-fef5-4f42-bdb9-b1962296d397','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','e1784335-cbb2-42bc-ba3f-7a2f7627a58e','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('55f2afc0-e93e-4be6-bb4e-4fcca3c5bd7a','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','d5c17f96-bdc8-4677-8d2b-2b5b6ea95070','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','db73dc36-b671-4226-b67a-6d1d539e6671','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('def0c8a4-5b56-4ba6-9b5c-a4ace0e5cb43','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','5823698a-377a-4e84-abf9-68ba656265ad','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','cf11db9b-890c-4379-9d31-9e578a265ec9','','',1794744000000,1794744000000);
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
INSERT INTO "users" VALUES('8b34db5f-b016-4c50-b564-18cd8b4b3449','boss','Boss','admin',1,NULL,NULL,'{}',1,1794744000000);
INSERT INTO "users" VALUES('d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','ann','Ann','user',1,NULL,NULL,'{}',1,1794744000000);
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
INSERT INTO "videos" VALUES(1,'5fd8b24f-fef5-4f42-bdb9-b1962296d397','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','Finished','A note','["one", "zw\u00f6lf"]','2026-11-01','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','39fdb7ec-34e6-42f2-9ad9-4097d14feb2c','e1784335-cbb2-42bc-ba3f-7a2f7627a58e','en',210,7,90000,400000,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(2,'d5c17f96-bdc8-4677-8d2b-2b5b6ea95070','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','Waiting','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','db73dc36-b671-4226-b67a-6d1d539e6671',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(3,'5823698a-377a-4e84-abf9-68ba656265ad','d9e0961a-dcdc-478a-9a1e-af647bc0f3d4','Running','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','cf11db9b-890c-4379-9d31-9e578a265ec9',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('videos',3);
INSERT INTO "sqlite_sequence" VALUES('job_events',9);
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
PRAGMA user_version = 3;
