-- The twin of the embedded database's tables, on PostgreSQL behind PostgREST. Durations are milliseconds, sizes bytes.
-- What is compared in a search or a sort (…_key, search_text) is folded by the program, so that it does not depend on
-- the locale of a database. `seq` is the order in which rows were made.

create schema if not exists private;
revoke all on schema private from public;
grant usage on schema private to authenticated, service_role;
comment on schema private is 'Not served by PostgREST: helpers, triggers, and the state of the installation';

-- The one place that tells the time of rows.
create function private.clock() returns timestamptz language sql stable set search_path = '' as $$
    select date_trunc('milliseconds', now())
$$;

create table private.installation (
    is_only boolean primary key default true check (is_only),
    version text not null,
    checked_at timestamptz(3) not null default private.clock()
);
comment on table private.installation is 'One row: which migration made the newest of the tables';

create table public.users (
    id uuid primary key default gen_random_uuid(),
    username text collate "C" not null unique check (username <> '' and username = lower(username)),
    full_name text not null,
    role text not null check (role in ('user', 'admin')),
    is_active boolean not null default true,
    quota_minutes bigint check (quota_minutes >= 0),
    quota_bytes bigint check (quota_bytes >= 0),
    options jsonb not null default '{}',
    token_version integer not null default 1,
    username_key text collate "C" not null,
    full_name_key text collate "C" not null,
    search_text text collate "C" not null generated always as (username_key || chr(10) || full_name_key) stored,
    created_at timestamptz(3) not null default private.clock()
);

-- Apart from the accounts, so that no list of users ever carries a hash.
create table public.credentials (
    user_id uuid primary key references public.users (id) on delete cascade,
    password_hash text not null,
    changed_at timestamptz(3) not null default private.clock()
);

-- tokens: what a service that keeps passwords gave at the login, sealed by us; empty where our own table keeps them.
create table public.sessions (
    id uuid primary key default gen_random_uuid(),
    seq bigint generated always as identity,
    user_id uuid not null references public.users (id) on delete cascade,
    token_version integer not null,
    label text not null,
    created_at timestamptz(3) not null default private.clock(),
    seen_at timestamptz(3) not null default private.clock(),
    expires_at timestamptz(3) not null,
    tokens text not null default ''
);
create index sessions_of_user on public.sessions (user_id, created_at);
create index sessions_by_end on public.sessions (expires_at);

create table public.links (
    id uuid primary key default gen_random_uuid(),
    seq bigint generated always as identity,
    kind text not null check (kind in ('invitation', 'reset')),
    token_hash text not null unique,
    user_id uuid references public.users (id) on delete cascade,
    role text not null check (role in ('user', 'admin')),
    note text not null,
    created_by text not null,
    created_at timestamptz(3) not null default private.clock(),
    expires_at timestamptz(3) not null,
    used_at timestamptz(3),
    check ((kind = 'reset') = (user_id is not null))
);
create index links_of_user on public.links (user_id);

create table public.throttles (
    key text collate "C" primary key,
    failures integer not null,
    locked_until timestamptz(3),
    last_failure_at timestamptz(3) not null default private.clock()
);

create table public.uploads (
    id uuid primary key default gen_random_uuid(),
    seq bigint generated always as identity,
    user_id uuid not null references public.users (id) on delete cascade,
    video_id uuid not null unique default gen_random_uuid(),
    name text not null,
    size_bytes bigint not null check (size_bytes >= 0),
    fingerprint text not null,
    options jsonb not null,
    state text not null default 'receiving' check (state in ('receiving', 'checking', 'done', 'refused')),
    job_id uuid,
    error_code text not null default '',
    error_message text not null default '',
    created_at timestamptz(3) not null default private.clock(),
    updated_at timestamptz(3) not null default private.clock(),
    check (state <> 'done' or job_id is not null)
);
create index uploads_of_user on public.uploads (user_id, created_at);
create index uploads_by_state on public.uploads (state, updated_at);

-- newest_job_id and current_job_id are no foreign keys: a job goes only together with its video.
create table public.videos (
    id uuid primary key,
    seq bigint generated always as identity,
    user_id uuid not null references public.users (id) on delete cascade,
    title text not null,
    note text not null default '',
    tags jsonb not null default '[]' check (jsonb_typeof(tags) = 'array'),
    recorded_on text not null default '',
    file_name text not null,
    duration_ms bigint not null check (duration_ms >= 0),
    width integer not null,
    height integer not null,
    fps text not null,
    video_codec text not null,
    audio_tracks integer not null,
    size_bytes bigint not null check (size_bytes >= 0),
    sha256 text not null,
    newest_job_id uuid,
    current_job_id uuid,
    -- of the current job's result
    language text not null default '',
    words bigint,
    cuts bigint,
    result_ms bigint,
    result_bytes bigint,
    -- for searching and sorting
    title_key text collate "C" not null,
    details_key text collate "C" not null default '',
    file_name_key text collate "C" not null,
    search_text text collate "C" not null
        generated always as (title_key || chr(10) || details_key || chr(10) || file_name_key) stored,
    created_at timestamptz(3) not null default private.clock(),
    updated_at timestamptz(3) not null default private.clock(),
    unique (user_id, id)
);
create index videos_of_user on public.videos (user_id, created_at, seq);
create index videos_by_age on public.videos (created_at, seq);

create table public.jobs (
    id uuid primary key default gen_random_uuid(),
    seq bigint generated always as identity,
    user_id uuid not null,
    video_id uuid not null,
    idempotency_key text,
    charge_key text not null,
    status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    stage text not null default '',
    progress double precision not null default 0 check (progress between 0 and 1),
    options jsonb not null,
    result jsonb not null default '{}',
    stored_bytes bigint not null default 0 check (stored_bytes >= 0),
    error_code text not null default '',
    error_message text not null default '',
    attempt integer not null default 0,
    max_attempts integer not null default 3,
    stored_attempt integer not null default 0,
    worker_id text not null default '',
    lease_until timestamptz(3),
    cancel_requested boolean not null default false,
    created_at timestamptz(3) not null default private.clock(),
    updated_at timestamptz(3) not null default private.clock(),
    started_at timestamptz(3),
    finished_at timestamptz(3),
    unique (id, user_id),
    unique (video_id, idempotency_key),
    foreign key (video_id, user_id) references public.videos (id, user_id) on delete cascade,
    check (attempt between 0 and max_attempts),
    check ((status = 'running') = (lease_until is not null)),
    check ((status in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    check (status not in ('running', 'succeeded') or started_at is not null)
);
create index jobs_of_user on public.jobs (user_id, charge_key);
create index jobs_of_video on public.jobs (video_id, user_id);
create index jobs_by_status on public.jobs (status, created_at, seq);
create index jobs_by_lease on public.jobs (lease_until) where status = 'running';
create index jobs_by_start on public.jobs (started_at) where started_at is not null;
create index jobs_by_end on public.jobs (status, finished_at) where finished_at is not null;
create index jobs_by_age on public.jobs (created_at, seq);
create index jobs_stored on public.jobs (user_id, stored_bytes) where stored_bytes > 0;
create unique index jobs_one_active on public.jobs (video_id) where status in ('queued', 'running');

-- data is shown in its order, which jsonb does not keep.
create table public.job_events (
    id bigint generated always as identity primary key,
    job_id uuid not null,
    user_id uuid not null,
    at timestamptz(3) not null default private.clock(),
    event text not null,
    data json not null default '{}',
    foreign key (job_id, user_id) references public.jobs (id, user_id) on delete cascade
);
create index job_events_of_job on public.job_events (job_id, id);

-- Minutes taken. A charge without a job is for work that was done and whose video is gone.
create table public.charges (
    user_id uuid not null references public.users (id) on delete cascade,
    key text not null,
    period text not null check (period ~ '^[0-9]{4}-[0-9]{2}$'),
    cost_ms bigint not null check (cost_ms >= 0),
    job_id uuid references public.jobs (id) on delete set null,
    created_at timestamptz(3) not null default private.clock(),
    primary key (user_id, key)
);
create index charges_of_month on public.charges (user_id, period, cost_ms);
create index charges_of_job on public.charges (job_id);

-- seen_at is what the worker's clock says, told_at what ours says: whether it is alive does not depend on its clock.
create table public.workers (
    id text collate "C" primary key,
    host text not null,
    pid integer not null,
    started_at timestamptz(3) not null,
    seen_at timestamptz(3) not null,
    told_at timestamptz(3) not null default private.clock(),
    info jsonb not null
);

create table public.secrets (
    name text primary key,
    value text not null,
    created_at timestamptz(3) not null default private.clock()
);
