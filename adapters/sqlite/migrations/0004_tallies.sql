-- Counters for the metrics: they only rise, also when a video goes with its jobs. Of seconds, a total; of the durations
-- in `…_le`, how many were not above the label.
CREATE TABLE tallies (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    PRIMARY KEY (name, label)
) STRICT, WITHOUT ROWID;

-- A job that was lost waits anew, which is no person's first wait.
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
