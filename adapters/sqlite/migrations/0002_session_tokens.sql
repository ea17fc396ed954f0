-- What a service that keeps passwords gave at the login, sealed by us; empty where our own table keeps them.
ALTER TABLE sessions ADD COLUMN tokens TEXT NOT NULL DEFAULT '';
