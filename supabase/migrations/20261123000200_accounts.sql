-- Functions for accounts and for what belongs to the installation. One call is one atomic step.

-- Counts over all accounts (the first one, the last administrator) are read and changed by one at a time.
create function private.lock_accounts() returns void language sql set search_path = '' as $$
    select pg_advisory_xact_lock(hashtextextended('accounts', 0))
$$;

create function private.leaves_an_admin(p_user_id uuid) returns boolean language sql stable set search_path = '' as $$
    select exists (select from public.users where role = 'admin' and is_active and id <> p_user_id)
        or not exists (select from public.users where role = 'admin' and is_active and id = p_user_id)
$$;

create function private.end_sessions(p_user_id uuid) returns void language sql set search_path = '' as $$
    update public.users set token_version = token_version + 1 where id = p_user_id;
    delete from public.sessions where user_id = p_user_id;
$$;

-- Returns the new account, or nothing when the name is taken, or when it should be the first and is not.
create function public.create_user(
    p_new_id uuid, p_username text, p_full_name text, p_role text, p_password_hash text, p_username_key text,
    p_full_name_key text, p_only_if_first boolean
) returns setof public.users language plpgsql set search_path = '' as $$
declare
    v_user public.users;
begin
    perform private.lock_accounts();
    if p_only_if_first and exists (select from public.users) then
        return;
    end if;
    insert into public.users (id, username, full_name, role, username_key, full_name_key)
    values (coalesce(p_new_id, gen_random_uuid()), p_username, p_full_name, p_role, p_username_key, p_full_name_key)
    on conflict do nothing returning * into v_user;
    if not found then
        return;
    end if;
    insert into public.credentials (user_id, password_hash) values (v_user.id, p_password_hash);
    return next v_user;
end $$;

create function public.set_password(p_user_id uuid, p_password_hash text)
returns void language plpgsql set search_path = '' as $$
begin
    update public.credentials set password_hash = p_password_hash, changed_at = private.clock()
    where user_id = p_user_id;
    perform private.end_sessions(p_user_id);
end $$;

create function public.raise_token_version(p_user_id uuid) returns void language sql set search_path = '' as $$
    select private.end_sessions(p_user_id)
$$;

create function public.set_role(p_user_id uuid, p_role text) returns boolean language plpgsql set search_path = '' as $$
begin
    perform private.lock_accounts();
    if p_role <> 'admin' and not private.leaves_an_admin(p_user_id) then
        return false;
    end if;
    update public.users set role = p_role where id = p_user_id;
    return true;
end $$;

create function public.set_active(p_user_id uuid, p_is_active boolean)
returns boolean language plpgsql set search_path = '' as $$
begin
    perform private.lock_accounts();
    if not p_is_active then
        if not private.leaves_an_admin(p_user_id) then
            return false;
        end if;
        perform private.end_sessions(p_user_id);
    end if;
    update public.users set is_active = p_is_active where id = p_user_id;
    return true;
end $$;

create function public.delete_user(p_user_id uuid) returns boolean language plpgsql set search_path = '' as $$
begin
    perform private.lock_accounts();
    if exists (select from public.users where id <> p_user_id) and not private.leaves_an_admin(p_user_id) then
        return false;
    end if;
    perform 1 from public.users where id = p_user_id for update;
    delete from public.links where created_by = p_user_id::text;
    delete from public.users where id = p_user_id;
    return true;
end $$;

-- Returns {total, rows}; a row is found when it holds every one of the words.
create function public.list_users(p_words text[], p_offset bigint, p_limit bigint)
returns jsonb language sql stable set search_path = '' as $$
    with found as (
        select * from public.users
        where not exists (select from unnest(p_words) as word where strpos(search_text, word) = 0)
    ), page as (
        select * from found order by username offset p_offset limit p_limit
    )
    select jsonb_build_object(
        'total', (select count(*) from found),
        'rows', (select coalesce(jsonb_agg(to_jsonb(page) order by username), '[]') from page)
    )
$$;

-- Sessions -----------------------------------------------------------------------------------------------------------

create function public.get_session(p_session_id uuid)
returns setof public.sessions language sql stable set search_path = '' as $$
    select * from public.sessions where id = p_session_id and expires_at > private.clock()
$$;

-- Returns {session, user}: every page and every request begins with it.
create function public.get_session_with_user(p_session_id uuid)
returns jsonb language sql stable set search_path = '' as $$
    select jsonb_build_object('session', to_jsonb(s), 'user', to_jsonb(u))
    from public.sessions as s join public.users as u on u.id = s.user_id
    where s.id = p_session_id and s.expires_at > private.clock()
$$;

create function public.touch_session(p_session_id uuid) returns void language sql set search_path = '' as $$
    update public.sessions set seen_at = private.clock() where id = p_session_id
$$;

create function public.set_session_tokens(p_session_id uuid, p_tokens text, p_instead_of text)
returns boolean language plpgsql set search_path = '' as $$
begin
    update public.sessions set tokens = p_tokens where id = p_session_id and tokens = p_instead_of;
    return found;
end $$;

create function public.list_open_sessions(p_user_id uuid)
returns setof public.sessions language sql stable set search_path = '' as $$
    select s.* from public.sessions as s join public.users as u on u.id = s.user_id
    where s.user_id = p_user_id and s.expires_at > private.clock() and s.token_version = u.token_version
    order by s.created_at desc, s.seq desc
$$;

create function public.purge_sessions() returns bigint language sql set search_path = '' as $$
    with gone as (delete from public.sessions where expires_at <= private.clock() returning id)
    select count(*) from gone
$$;

-- One-time links -----------------------------------------------------------------------------------------------------

create function public.use_link(p_token_hash text) returns boolean language plpgsql set search_path = '' as $$
begin
    update public.links set used_at = private.clock()
    where token_hash = p_token_hash and used_at is null and expires_at > private.clock();
    return found;
end $$;

create function public.list_open_links(p_kind text)
returns setof public.links language sql stable set search_path = '' as $$
    select * from public.links where kind = p_kind and used_at is null and expires_at > private.clock()
    order by created_at desc, seq desc
$$;

-- A used one stays until it ends, so that it can be opened again.
create function public.purge_links() returns bigint language sql set search_path = '' as $$
    with gone as (delete from public.links where expires_at <= private.clock() returning id)
    select count(*) from gone
$$;

-- Counters of wrong tries --------------------------------------------------------------------------------------------

create function public.add_failure(p_key text, p_forget_after_s bigint)
returns integer language sql set search_path = '' as $$
    insert into public.throttles as t (key, failures) values (p_key, 1)
    on conflict (key) do update set
        failures = case
            when t.last_failure_at <= private.clock() - make_interval(secs => p_forget_after_s) then 1
            else t.failures + 1
        end,
        last_failure_at = private.clock()
    returning failures
$$;

create function public.lock_throttle(p_key text, p_until timestamptz) returns void language sql set search_path = '' as $$
    insert into public.throttles (key, failures, locked_until) values (p_key, 0, p_until)
    on conflict (key) do update set locked_until = excluded.locked_until
$$;

create function public.purge_throttles(p_older_than_s bigint) returns bigint language sql set search_path = '' as $$
    with gone as (
        delete from public.throttles
        where last_failure_at <= private.clock() - make_interval(secs => p_older_than_s)
            and coalesce(locked_until, '-infinity') <= private.clock()
        returning key
    )
    select count(*) from gone
$$;

-- The installation ---------------------------------------------------------------------------------------------------

create function public.keep_secret(p_name text, p_value text) returns text language sql set search_path = '' as $$
    insert into public.secrets (name, value) values (p_name, p_value) on conflict (name) do nothing;
    select value from public.secrets where name = p_name;
$$;

create function public.beat_worker(
    p_worker text, p_host text, p_pid integer, p_started_at timestamptz, p_seen_at timestamptz, p_info jsonb
) returns void language sql set search_path = '' as $$
    insert into public.workers (id, host, pid, started_at, seen_at, info)
    values (p_worker, p_host, p_pid, p_started_at, p_seen_at, p_info)
    on conflict (id) do update set
        host = excluded.host, pid = excluded.pid, started_at = excluded.started_at, seen_at = excluded.seen_at,
        told_at = excluded.told_at, info = excluded.info;
    delete from public.workers where told_at < private.clock() - interval '1 day';
$$;

create function public.remove_worker(p_worker text) returns void language sql set search_path = '' as $$
    delete from public.workers where id = p_worker
$$;

create function public.list_workers(p_within_s double precision)
returns setof public.workers language sql stable set search_path = '' as $$
    select * from public.workers where told_at >= private.clock() - make_interval(secs => p_within_s)
    order by started_at, id
$$;

-- Writes, so that a database which can't be written shows. The tables' version is the newest migration's.
create function public.describe_database() returns jsonb
language sql security definer set search_path = '' as $$
    update private.installation set checked_at = private.clock() returning jsonb_build_object(
        'postgres', current_setting('server_version'),
        'version', version,
        'size_bytes', pg_database_size(current_database())
    )
$$;
