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
INSERT INTO "charges" VALUES('96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','key-1','2026-11',120000,'39323fcd-0b09-4750-851f-71572f97ffd9',1794744000000);
INSERT INTO "charges" VALUES('96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','key-3','2026-11',120000,'af058f92-a146-47a0-af2b-fc7bbabc18d2',1794744000000);
INSERT INTO "charges" VALUES('96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','key-4','2026-11',120000,'a10d479b-4f30-4e74-89da-391973a65dda',1794744000000);
CREATE TABLE credentials (
    user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
INSERT INTO "credentials" VALUES('9e72dbd5-936d-439e-b932-e64a0c4f8bf3','hash',1794744000000);
INSERT INTO "credentials" VALUES('96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','hash',1794744000000);
CREATE TABLE job_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
INSERT INTO "job_events" VALUES(1,'39323fcd-0b09-4750-851f-71572f97ffd9',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(2,'39323fcd-0b09-4750-851f-71572f97ffd9',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(3,'39323fcd-0b09-4750-851f-71572f97ffd9',1794744000000,'succeeded','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(4,'9d9dc812-a7a5-487e-8761-275c3034ba60',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(5,'9d9dc812-a7a5-487e-8761-275c3034ba60',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
INSERT INTO "job_events" VALUES(6,'9d9dc812-a7a5-487e-8761-275c3034ba60',1794744000000,'failed','{"attempt":1,"worker":"worker-1","error_code":"tool_failed"}');
INSERT INTO "job_events" VALUES(7,'af058f92-a146-47a0-af2b-fc7bbabc18d2',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(8,'a10d479b-4f30-4e74-89da-391973a65dda',1794744000000,'queued','{}');
INSERT INTO "job_events" VALUES(9,'a10d479b-4f30-4e74-89da-391973a65dda',1794744000000,'running','{"attempt":1,"worker":"worker-1","error_code":""}');
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
INSERT INTO "jobs" VALUES(1,'39323fcd-0b09-4750-851f-71572f97ffd9','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','e2097950-933c-48af-8f6a-c125922ce155','0a750b05-7047-437b-818d-9b2c2515ccf9','key-1','succeeded','',1.0,'{"pace": "tight"}','{"duration_ms": 90000, "size_bytes": 400000, "cuts": 7, "words": 210, "language": "en", "files": {"video.mp4": 400000, "captions.vtt": 2000}}',402000,'','',1,3,1,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(2,'9d9dc812-a7a5-487e-8761-275c3034ba60','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','e2097950-933c-48af-8f6a-c125922ce155',NULL,'key-2','failed','',0.0,'{"pace": "relaxed"}','{}',0,'tool_failed','It broke.',1,3,0,'worker-1',NULL,0,1794744000000,1794744000000,1794744000000,1794744000000);
INSERT INTO "jobs" VALUES(3,'af058f92-a146-47a0-af2b-fc7bbabc18d2','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','ded8bb5c-15d3-4c80-b4e2-04a2c09187f2','20b98208-1f15-4878-b824-0795e1d18b55','key-3','queued','',0.0,'{"pace": "tight"}','{}',0,'','',0,3,0,'',NULL,0,1794744000000,1794744000000,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'a10d479b-4f30-4e74-89da-391973a65dda','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','fcfe25ee-7444-4ad2-a1fa-186c10930dd2','9abd6aad-0ad2-4c5f-be9d-350482f7dbb4','key-4','running','',0.0,'{"pace": "tight"}','{}',0,'','',1,3,0,'worker-1',1794744060000,0,1794744000000,1794744000000,1794744000000,NULL);
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
INSERT INTO "links" VALUES('99c1b182-e8a2-4bcf-8de6-d36378c1ff52','reset','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','user','','9e72dbd5-936d-439e-b932-e64a0c4f8bf3',1794744000000,1795348800000,NULL);
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
INSERT INTO "sessions" VALUES('ab0a86d1-f557-443f-9420-d84b19416723','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed',1,'Firefox on Linux',1794744000000,1794744000000,1795348800000,'');
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
INSERT INTO "uploads" VALUES('39743c08-4a51-44fe-97c9-1969573e8110','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','0b073eed-baf1-4144-9c62-a5c64ea3daf1','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','receiving',NULL,'','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('0a750b05-7047-437b-818d-9b2c2515ccf9','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','e2097950-933c-48af-8f6a-c125922ce155','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','39323fcd-0b09-4750-851f-71572f97ffd9','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('20b98208-1f15-4878-b824-0795e1d18b55','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','ded8bb5c-15d3-4c80-b4e2-04a2c09187f2','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','af058f92-a146-47a0-af2b-fc7bbabc18d2','','',1794744000000,1794744000000);
INSERT INTO "uploads" VALUES('9abd6aad-0ad2-4c5f-be9d-350482f7dbb4','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','fcfe25ee-7444-4ad2-a1fa-186c10930dd2','talk.mov',1000000,'talk.mov-1','{"pace": "tight"}','done','a10d479b-4f30-4e74-89da-391973a65dda','','',1794744000000,1794744000000);
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
INSERT INTO "users" VALUES('9e72dbd5-936d-439e-b932-e64a0c4f8bf3','boss','Boss','admin',1,NULL,NULL,'{}',1,1794744000000);
INSERT INTO "users" VALUES('96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','ann','Ann','user',1,NULL,NULL,'{}',1,1794744000000);
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
INSERT INTO "videos" VALUES(1,'e2097950-933c-48af-8f6a-c125922ce155','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','Finished','A note','["one", "zw\u00f6lf"]','2026-11-01','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','9d9dc812-a7a5-487e-8761-275c3034ba60','39323fcd-0b09-4750-851f-71572f97ffd9','en',210,7,90000,400000,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(2,'ded8bb5c-15d3-4c80-b4e2-04a2c09187f2','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','Waiting','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','af058f92-a146-47a0-af2b-fc7bbabc18d2',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
INSERT INTO "videos" VALUES(3,'fcfe25ee-7444-4ad2-a1fa-186c10930dd2','96fa2b54-fad8-49dc-ac2e-658e5e2b76ed','Running','','[]','','talk.mov',120000,1920,1080,'30000/1001','h264',1,1000000,'5555555555555555555555555555555555555555555555555555555555555555','a10d479b-4f30-4e74-89da-391973a65dda',NULL,'',NULL,NULL,NULL,NULL,1794744000000,1794744000000);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('videos',3);
INSERT INTO "sqlite_sequence" VALUES('job_events',9);
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
PRAGMA user_version = 2;
