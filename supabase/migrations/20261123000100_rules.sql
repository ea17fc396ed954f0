-- Rules that bind every writer, the server's secret key included, and who may read what.

-- Changes of times ---------------------------------------------------------------------------------------------------

create function private.set_updated_at() returns trigger language plpgsql set search_path = '' as $$
begin
    new.updated_at := private.clock();
    return new;
end $$;
create trigger uploads_updated before update on public.uploads
    for each row execute function private.set_updated_at();
create trigger videos_updated before update of title, note, tags, recorded_on, current_job_id on public.videos
    for each row execute function private.set_updated_at();
create trigger jobs_updated before update on public.jobs
    for each row execute function private.set_updated_at();

-- The status machine -------------------------------------------------------------------------------------------------

create function private.check_transition() returns trigger language plpgsql set search_path = '' as $$
begin
    if old.status <> new.status and not (
        (old.status = 'queued' and new.status in ('running', 'cancelled', 'failed'))
        or (old.status = 'running' and new.status in ('succeeded', 'failed', 'cancelled', 'queued'))
    ) then
        raise exception 'a job does not go from % to %', old.status, new.status using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger jobs_status_machine before update of status on public.jobs
    for each row execute function private.check_transition();

create function private.log_new_job() returns trigger language plpgsql set search_path = '' as $$
begin
    update public.videos set newest_job_id = new.id where id = new.video_id;
    insert into public.job_events (job_id, user_id, at, event) values (new.id, new.user_id, new.created_at, new.status);
    return null;
end $$;
create trigger jobs_created after insert on public.jobs
    for each row execute function private.log_new_job();

-- A takeover of a lost job stays at running; its attempt tells.
create function private.log_changed_job() returns trigger language plpgsql set search_path = '' as $$
begin
    insert into public.job_events (job_id, user_id, at, event, data) values (
        new.id, new.user_id, new.updated_at, new.status,
        json_build_object('attempt', new.attempt, 'worker', new.worker_id, 'error_code', new.error_code)
    );
    return null;
end $$;
create trigger jobs_changed after update of status, attempt on public.jobs
    for each row when (old.status <> new.status or old.attempt <> new.attempt)
    execute function private.log_changed_job();

-- Minutes ------------------------------------------------------------------------------------------------------------
-- They are taken by whoever makes a job, and held or given back here, whoever ends it and however. What a person has
-- used is read and changed only by one at a time: whoever holds the lock of that person's row.

create function private.lock_user(p_user_id uuid) returns boolean language plpgsql set search_path = '' as $$
begin
    perform 1 from public.users where id = p_user_id for no key update;
    return found;
end $$;

create function private.give_back(p_job public.jobs) returns void language plpgsql set search_path = '' as $$
declare
    v_key text;
    v_heir uuid;
begin
    perform private.lock_user(p_job.user_id);
    select key into v_key from public.charges where job_id = p_job.id;
    if not found then
        return;
    end if;
    select id into v_heir from public.jobs
    where user_id = p_job.user_id and charge_key = v_key and id <> p_job.id
        and status in ('queued', 'running', 'succeeded')
    order by seq limit 1;
    if v_heir is null then
        delete from public.charges where job_id = p_job.id;
    else
        update public.charges set job_id = v_heir where job_id = p_job.id;
    end if;
end $$;

create function private.settle_charge() returns trigger language plpgsql set search_path = '' as $$
begin
    if tg_op = 'DELETE' then
        perform private.give_back(old);
        return old;
    elsif new.status = 'succeeded' then  -- from now on nobody gives it back, whoever took it
        perform private.lock_user(new.user_id);
        update public.charges set job_id = new.id where user_id = new.user_id and key = new.charge_key;
    else
        perform private.give_back(new);
    end if;
    return null;
end $$;
create trigger jobs_ended after update of status on public.jobs
    for each row when (old.status in ('queued', 'running') and new.status in ('succeeded', 'failed', 'cancelled'))
    execute function private.settle_charge();
create trigger jobs_deleted before delete on public.jobs
    for each row when (old.status in ('queued', 'running'))
    execute function private.settle_charge();

-- Who may read what --------------------------------------------------------------------------------------------------
-- The server writes, with its secret key. People read their own rows, with a token of their own; nobody else anything.

alter table private.installation enable row level security;
alter table public.users enable row level security;
alter table public.credentials enable row level security;
alter table public.sessions enable row level security;
alter table public.links enable row level security;
alter table public.throttles enable row level security;
alter table public.uploads enable row level security;
alter table public.videos enable row level security;
alter table public.jobs enable row level security;
alter table public.job_events enable row level security;
alter table public.charges enable row level security;
alter table public.workers enable row level security;
alter table public.secrets enable row level security;

-- A project may grant every new table to the roles of its interface, by name: take that back, and for later ones too.
revoke all on public.users, public.credentials, public.sessions, public.links, public.throttles, public.uploads,
    public.videos, public.jobs, public.job_events, public.charges, public.workers, public.secrets
    from public, anon, authenticated;
revoke all on all tables in schema private from public, anon, authenticated;
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke all on functions from anon, authenticated;
alter default privileges revoke execute on functions from public;

grant select, insert, update, delete on public.users, public.credentials, public.sessions, public.links,
    public.throttles, public.uploads, public.videos, public.jobs, public.job_events, public.charges, public.workers,
    public.secrets
    to service_role;

grant select (id, username, full_name, role, is_active, quota_minutes, quota_bytes, options, created_at)
    on public.users to authenticated;
grant select on public.uploads, public.videos, public.jobs, public.job_events, public.charges to authenticated;

-- The select around auth.uid() has it asked once for a query, not for every row.
create policy own_rows on public.users for select to authenticated using (id = (select auth.uid()));
create policy own_rows on public.uploads for select to authenticated using (user_id = (select auth.uid()));
create policy own_rows on public.videos for select to authenticated using (user_id = (select auth.uid()));
create policy own_rows on public.jobs for select to authenticated using (user_id = (select auth.uid()));
create policy own_rows on public.job_events for select to authenticated using (user_id = (select auth.uid()));
create policy own_rows on public.charges for select to authenticated using (user_id = (select auth.uid()));
