-- Of each person, what was worked on lately and when last: the order of the line asks for it.
CREATE INDEX jobs_worked_on ON jobs (user_id, finished_at) WHERE finished_at IS NOT NULL AND started_at IS NOT NULL;
