-- Functions for uploads, videos and jobs. Those that serve a person take that person first. One call is one atomic step.
--
-- Who changes what a person has used takes the lock of that person's row first, before any other row: so sums stay true
-- and nobody waits in a circle.

create function public.touch_upload(p_user_id uuid, p_upload_id uuid) returns void language sql set search_path = '' as $$
    update public.uploads set updated_at = private.clock()
    where id = p_upload_id and user_id = p_user_id and state in ('receiving', 'checking')
$$;

-- In one value, since the rows of an answer may be limited.
create function public.list_unfinished_uploads() returns jsonb language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(u) order by updated_at, seq), '[]')
    from public.uploads as u where state in ('receiving', 'checking')
$$;

create function public.purge_uploads(p_older_than_s bigint) returns bigint language sql set search_path = '' as $$
    with gone as (
        delete from public.uploads
        where state in ('done', 'refused') and updated_at <= private.clock() - make_interval(secs => p_older_than_s)
        returning id
    )
    select count(*) from gone
$$;

-- What a person has used ---------------------------------------------------------------------------------------------

create function private.get_period() returns text language sql stable set search_path = '' as $$
    select to_char(private.clock() at time zone 'utc', 'YYYY-MM')
$$;

create function public.get_used_ms(p_user_id uuid) returns bigint language sql stable set search_path = '' as $$
    select coalesce(sum(cost_ms), 0)::bigint from public.charges
    where user_id = p_user_id and period = private.get_period()
$$;

create function public.get_stored_bytes(p_user_id uuid) returns bigint language sql stable set search_path = '' as $$
    select (
        (select coalesce(sum(size_bytes), 0) from public.videos where user_id = p_user_id)
        + (select coalesce(sum(stored_bytes), 0) from public.jobs where user_id = p_user_id and stored_bytes > 0)
    )::bigint
$$;

create function private.refuse(p_what text, p_needed bigint, p_left bigint)
returns void language plpgsql stable set search_path = '' as $$
begin
    raise exception '%', p_what using
        errcode = 'PT402',
        detail = json_build_object('needed', p_needed, 'left', p_left, 'now', private.clock())::text;
end $$;

-- Making jobs --------------------------------------------------------------------------------------------------------

-- Makes a queued job and charges the length of its video, unless its key is paid for. The caller holds the person's
-- lock.
create function private.add_job(
    p_video public.videos, p_options jsonb, p_charge_key text, p_limit_ms bigint, p_idempotency_key text
) returns public.jobs language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
    v_left bigint;
begin
    insert into public.jobs (user_id, video_id, idempotency_key, charge_key, options)
    values (p_video.user_id, p_video.id, nullif(p_idempotency_key, ''), p_charge_key, p_options)
    returning * into v_job;
    if exists (select from public.charges where user_id = p_video.user_id and key = p_charge_key) then
        return v_job;
    end if;
    if p_limit_ms > 0 then
        v_left := greatest(0, p_limit_ms - public.get_used_ms(p_video.user_id));
        if p_video.duration_ms > v_left then
            perform private.refuse('minutes', p_video.duration_ms, v_left);
        end if;
    end if;
    insert into public.charges (user_id, key, period, cost_ms, job_id)
    values (p_video.user_id, p_charge_key, private.get_period(), p_video.duration_ms, v_job.id);
    return v_job;
end $$;

-- Makes the video of an upload and its first job: {video, job}. Doing it again returns what is there.
create function public.create_video(
    p_user_id uuid, p_upload_id uuid, p_video_id uuid, p_title text, p_title_key text, p_file_name text,
    p_file_name_key text, p_facts jsonb, p_options jsonb, p_charge_key text, p_limit_ms bigint, p_limit_bytes bigint
) returns jsonb language plpgsql set search_path = '' as $$
declare
    v_video public.videos;
    v_job public.jobs;
    v_state text;
    v_left bigint;
begin
    if not private.lock_user(p_user_id) then
        raise exception 'no such person' using errcode = 'PT404';
    end if;
    select * into v_video from public.videos where id = p_video_id and user_id = p_user_id;
    if found then
        select * into v_job from public.jobs where video_id = p_video_id and idempotency_key = p_upload_id::text;
        if found then
            return jsonb_build_object('video', to_jsonb(v_video), 'job', to_jsonb(v_job));
        end if;
    end if;
    select state into v_state from public.uploads
    where id = p_upload_id and user_id = p_user_id and video_id = p_video_id
    for update;
    if v_state is null or v_state = 'done' then
        raise exception 'the upload, or the video it became, was deleted' using errcode = 'PT404';
    elsif v_state = 'refused' then
        raise exception 'upload_refused' using errcode = 'PT409';
    end if;
    if p_limit_bytes > 0 then
        v_left := greatest(0, p_limit_bytes - public.get_stored_bytes(p_user_id));
        if (p_facts ->> 'size_bytes')::bigint > v_left then
            perform private.refuse('storage', (p_facts ->> 'size_bytes')::bigint, v_left);
        end if;
    end if;
    insert into public.videos (
        id, user_id, title, title_key, file_name, file_name_key, duration_ms, width, height, fps, video_codec,
        audio_tracks, size_bytes, sha256
    ) values (
        p_video_id, p_user_id, p_title, p_title_key, p_file_name, p_file_name_key,
        (p_facts ->> 'duration_ms')::bigint, (p_facts ->> 'width')::integer, (p_facts ->> 'height')::integer,
        p_facts ->> 'fps', p_facts ->> 'video_codec', (p_facts ->> 'audio_tracks')::integer,
        (p_facts ->> 'size_bytes')::bigint, p_facts ->> 'sha256'
    ) returning * into v_video;
    v_job := private.add_job(v_video, p_options, p_charge_key, p_limit_ms, p_upload_id::text);
    update public.uploads set state = 'done', job_id = v_job.id where id = p_upload_id;
    return jsonb_build_object('video', to_jsonb(v_video), 'job', to_jsonb(v_job));
end $$;

-- Makes one more job of a video; nothing when there is no such video of this person. A key makes one job.
create function public.create_job(
    p_user_id uuid, p_video_id uuid, p_options jsonb, p_charge_key text, p_limit_ms bigint, p_idempotency_key text
) returns setof public.jobs language plpgsql set search_path = '' as $$
declare
    v_video public.videos;
    v_job public.jobs;
begin
    perform private.lock_user(p_user_id);
    select * into v_video from public.videos where id = p_video_id and user_id = p_user_id;
    if not found then
        return;
    end if;
    select * into v_job from public.jobs
    where video_id = p_video_id and idempotency_key = nullif(p_idempotency_key, '');
    if found then
        return next v_job;
        return;
    end if;
    if exists (select from public.jobs where video_id = p_video_id and status in ('queued', 'running')) then
        raise exception 'video_is_being_made' using errcode = 'PT409';
    end if;
    return next private.add_job(v_video, p_options, p_charge_key, p_limit_ms, p_idempotency_key);
end $$;

-- Deletes a video with its jobs and their log; minutes of a job that had not ended are given back.
create function public.delete_video(p_user_id uuid, p_video_id uuid)
returns boolean language plpgsql set search_path = '' as $$
begin
    perform private.lock_user(p_user_id);
    delete from public.videos where id = p_video_id and user_id = p_user_id;
    return found;
end $$;

create function public.list_older_videos(p_before timestamptz, p_limit bigint)
returns setof public.videos language sql stable set search_path = '' as $$
    select * from public.videos as v
    where created_at < p_before and not exists (
        select from public.jobs where video_id = v.id and status in ('queued', 'running')
    )
    order by created_at, seq limit p_limit
$$;

-- Returns [{video, jobs}] of everybody's videos behind a pair of ids, in the order of such pairs.
create function public.list_videos_with_jobs(p_after_user_id uuid, p_after_video_id uuid, p_limit bigint)
returns jsonb language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(
        jsonb_build_object('video', to_jsonb(v), 'jobs', (
            select coalesce(jsonb_agg(to_jsonb(j) order by j.seq), '[]') from public.jobs as j where j.video_id = v.id
        )) order by v.user_id, v.id
    ), '[]')
    from (
        select * from public.videos where (user_id, id) > (p_after_user_id, p_after_video_id)
        order by user_id, id limit p_limit
    ) as v
$$;

-- The list -----------------------------------------------------------------------------------------------------------

-- Reveals a number about others' jobs, and nothing else of them.
create function private.get_position(p_job_id uuid) returns bigint
language sql stable security definer set search_path = '' as $$
    select (
        select count(*) from public.jobs as other
        where other.status = 'queued' and (other.created_at, other.seq) <= (job.created_at, job.seq)
    )
    from public.jobs as job where job.id = p_job_id and job.status = 'queued'
$$;

-- Returns {total, cards: [{video, job, current, position}]}: of one video, or of those that hold every word and whose
-- newest job is in one of the states. `current` is left out when the newest job is the one that plays.
create function public.list_cards(
    p_user_id uuid, p_video_id uuid default null, p_words text[] default '{}', p_states text[] default '{}',
    p_sort text default 'newest', p_offset bigint default 0, p_limit bigint default 24
) returns jsonb language plpgsql stable set search_path = '' as $$
declare
    v_order text := case p_sort
        when 'newest' then 'v.created_at desc, v.seq desc'
        when 'oldest' then 'v.created_at, v.seq'
        when 'title' then 'v.title_key, v.created_at desc, v.seq desc'
        when 'longest' then 'v.duration_ms desc, v.created_at desc, v.seq desc'
    end;
    v_where text := 'v.user_id = $1';
    v_total bigint;
    v_cards jsonb;
begin
    if v_order is null then
        raise exception 'no such order' using errcode = 'invalid_parameter_value';
    end if;
    if p_video_id is not null then
        v_where := v_where || ' and v.id = $2';
    end if;
    if cardinality(p_words) > 0 then
        v_where := v_where || ' and not exists (select from unnest($3) as word where strpos(v.search_text, word) = 0)';
    end if;
    if cardinality(p_states) > 0 then
        v_where := v_where
            || ' and exists (select from public.jobs as n where n.id = v.newest_job_id and n.status = any ($4))';
    end if;
    execute format('select count(*) from public.videos as v where %s', v_where)
        into v_total using p_user_id, p_video_id, p_words, p_states;
    execute format(
        $query$
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'video', to_jsonb(v) - array['title_key', 'details_key', 'file_name_key', 'search_text'],
                'job', to_jsonb(j),
                'current', to_jsonb(c),
                'position', private.get_position(j.id)
            ) order by %1$s
        ), '[]')
        from (select * from public.videos as v where %2$s order by %1$s offset $5 limit $6) as v
        join public.jobs as j on j.id = v.newest_job_id
        left join public.jobs as c on c.id = v.current_job_id and c.id <> j.id
        $query$,
        v_order, v_where
    ) into v_cards using p_user_id, p_video_id, p_words, p_states, p_offset, p_limit;
    return jsonb_build_object('total', v_total, 'cards', v_cards);
end $$;

create function public.get_position(p_job_id uuid) returns bigint language sql stable set search_path = '' as $$
    select private.get_position(p_job_id)
$$;

-- The life of a job --------------------------------------------------------------------------------------------------

create function private.log_event(p_job public.jobs, p_event text, p_data json)
returns void language sql set search_path = '' as $$
    insert into public.job_events (job_id, user_id, event, data) values (p_job.id, p_job.user_id, p_event, p_data)
$$;

create function public.log_job(p_job_id uuid, p_event text, p_data json) returns void language sql set search_path = '' as $$
    insert into public.job_events (job_id, user_id, event, data)
    select id, user_id, p_event, p_data from public.jobs where id = p_job_id
$$;

-- Cancels a waiting job at once, flags a running one, leaves one that has ended; returns it as it then is.
create function public.request_cancel(p_user_id uuid, p_job_id uuid)
returns setof public.jobs language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
begin
    perform private.lock_user(p_user_id);
    select * into v_job from public.jobs where id = p_job_id and user_id = p_user_id for update;
    if not found then
        return;
    elsif v_job.status = 'queued' then
        update public.jobs set cancel_requested = true, status = 'cancelled', finished_at = private.clock()
        where id = p_job_id returning * into v_job;
    elsif v_job.status = 'running' then
        update public.jobs set cancel_requested = true where id = p_job_id returning * into v_job;
        perform private.log_event(v_job, 'cancel_requested', '{}');
    end if;
    return next v_job;
end $$;

-- Compare and set: of many who want it, one has it.
create function public.claim_job(p_job_id uuid, p_worker text, p_lease_s double precision)
returns setof public.jobs language sql set search_path = '' as $$
    update public.jobs set
        status = 'running', worker_id = p_worker, attempt = attempt + 1, stage = '', progress = 0,
        started_at = private.clock(), lease_until = private.clock() + make_interval(secs => p_lease_s)
    where id = p_job_id and not cancel_requested and attempt < max_attempts
        and (status = 'queued' or (status = 'running' and lease_until < private.clock()))
    returning *
$$;

-- Returns whether the job is to be cancelled; null when the lease was lost.
create function public.beat_job(
    p_job_id uuid, p_worker text, p_stage text, p_progress double precision, p_lease_s double precision
) returns boolean language sql set search_path = '' as $$
    update public.jobs set
        stage = p_stage, progress = least(1, greatest(0, p_progress)),
        lease_until = private.clock() + make_interval(secs => p_lease_s)
    where id = p_job_id and worker_id = p_worker and status = 'running'
    returning cancel_requested
$$;

create function private.read_whole(p_result jsonb, p_name text) returns bigint language sql immutable set search_path = '' as $$
    select case
        when jsonb_typeof(p_result -> p_name) = 'number' and p_result ->> p_name ~ '^-?[0-9]{1,18}$'
        then (p_result ->> p_name)::bigint
    end
$$;

create function private.sum_files(p_result jsonb) returns bigint language sql immutable set search_path = '' as $$
    select coalesce(sum(private.read_whole(p_result -> 'files', name)), 0)::bigint
    from jsonb_object_keys(case jsonb_typeof(p_result -> 'files') when 'object' then p_result -> 'files' else '{}' end)
        as name
$$;

-- Ends a running job. A worker that did not hear the answer may say the same once more, and is answered the same.
create function public.finish_job(
    p_job_id uuid, p_worker text, p_status text, p_error_code text, p_error_message text, p_result jsonb,
    p_stored_attempt integer
) returns boolean language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
begin
    perform private.lock_user(user_id) from public.jobs where id = p_job_id;
    update public.jobs set
        status = p_status, error_code = p_error_code, error_message = p_error_message, lease_until = null,
        finished_at = private.clock(), stored_attempt = p_stored_attempt,
        progress = case p_status when 'succeeded' then 1 else progress end,
        result = case p_status when 'succeeded' then p_result else result end,
        stored_bytes = case p_status when 'succeeded' then private.sum_files(p_result) else stored_bytes end
    where id = p_job_id and worker_id = p_worker and status = 'running'
    returning * into v_job;
    if not found then
        return exists (
            select from public.jobs
            where id = p_job_id and worker_id = p_worker and status = p_status and error_code = p_error_code
                and stored_attempt = p_stored_attempt
        );
    end if;
    if p_status = 'succeeded' then
        update public.videos set
            current_job_id = p_job_id,
            language = case jsonb_typeof(p_result -> 'language') when 'string' then p_result ->> 'language' else '' end,
            words = private.read_whole(p_result, 'words'),
            cuts = private.read_whole(p_result, 'cuts'),
            result_ms = private.read_whole(p_result, 'duration_ms'),
            result_bytes = private.read_whole(p_result, 'size_bytes')
        where id = v_job.video_id;
    end if;
    return true;
end $$;

-- Gives a running job back whose worker is gone: to its end when it is to be cancelled or has no attempt left, else to
-- the line. `{job}` in the sentence is where the job's short name goes.
create function private.take_back(p_job public.jobs, p_reason text, p_sentence text)
returns public.jobs language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
begin
    perform private.log_event(p_job, 'worker_lost', json_build_object(
        'reason', p_reason, 'worker', p_job.worker_id, 'attempt', p_job.attempt, 'stage', p_job.stage
    ));
    if p_job.cancel_requested then
        update public.jobs set status = 'cancelled', lease_until = null, finished_at = private.clock()
        where id = p_job.id returning * into v_job;
    elsif p_job.attempt >= p_job.max_attempts then
        update public.jobs set
            status = 'failed', lease_until = null, finished_at = private.clock(), error_code = 'worker_lost',
            error_message = replace(p_sentence, '{job}', upper(left(p_job.id::text, 4)))
        where id = p_job.id returning * into v_job;
    else
        update public.jobs set
            status = 'queued', worker_id = '', lease_until = null, started_at = null, stage = '', progress = 0
        where id = p_job.id returning * into v_job;
    end if;
    return v_job;
end $$;

create function public.release_job(p_job_id uuid, p_worker text, p_reason text, p_counts boolean, p_sentence text)
returns setof public.jobs language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
begin
    perform private.lock_user(user_id) from public.jobs where id = p_job_id;
    update public.jobs set max_attempts = max_attempts + (case when p_counts then 0 else 1 end)
    where id = p_job_id and worker_id = p_worker and status = 'running'
    returning * into v_job;
    if found then
        return next private.take_back(v_job, p_reason, p_sentence);
    end if;
end $$;

create function public.requeue_expired_jobs(p_sentence text)
returns setof public.jobs language plpgsql set search_path = '' as $$
declare
    v_id uuid;
    v_job public.jobs;
begin
    -- people in the order of their ids, so that two who do this at once don't wait for each other
    perform 1 from public.users where id in (
        select user_id from public.jobs where status = 'running' and lease_until < private.clock()
    ) order by id for no key update;
    for v_id in
        select id from public.jobs where status = 'running' and lease_until < private.clock() order by seq
    loop
        select * into v_job from public.jobs
        where id = v_id and status = 'running' and lease_until < private.clock()
        for update;
        if found then
            return next private.take_back(v_job, 'the lease ran out', p_sentence);
        end if;
    end loop;
end $$;

-- In one value, since the rows of an answer may be limited.
create function public.list_active_job_ids() returns jsonb language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(id), '[]') from public.jobs where status in ('queued', 'running')
$$;

create function public.list_speeds(p_limit bigint)
returns double precision[] language sql stable set search_path = '' as $$
    select coalesce(array_agg(speed order by finished_at desc, seq desc), '{}') from (
        select j.finished_at, j.seq,
            extract(epoch from j.finished_at - j.started_at)::double precision * 1000 / v.duration_ms as speed
        from public.jobs as j join public.videos as v on v.id = j.video_id
        where j.status = 'succeeded' and j.finished_at is not null and v.duration_ms > 0
        order by j.finished_at desc, j.seq desc limit p_limit
    ) as newest
$$;

-- The administrator's side -------------------------------------------------------------------------------------------

-- Returns {total, rows}.
create function public.list_jobs(p_states text[], p_offset bigint, p_limit bigint)
returns jsonb language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'total', (select count(*) from public.jobs where cardinality(p_states) = 0 or status = any (p_states)),
        'rows', (
            select coalesce(jsonb_agg(to_jsonb(page) order by created_at desc, seq desc), '[]')
            from (
                select * from public.jobs where cardinality(p_states) = 0 or status = any (p_states)
                order by created_at desc, seq desc offset p_offset limit p_limit
            ) as page
        )
    )
$$;

create function public.get_totals(p_today timestamptz) returns jsonb language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'queued', (select count(*) from public.jobs where status = 'queued'),
        'running', (select count(*) from public.jobs where status = 'running'),
        'longest_wait_ms', (
            select coalesce(round(extract(epoch from max(wait)) * 1000), 0)::bigint from (
                -- a job that was lost waits anew
                select private.clock() - updated_at as wait from public.jobs where status = 'queued'
                union all
                select started_at - created_at from public.jobs where started_at >= p_today and attempt = 1
            ) as waits
        ),
        'succeeded_today', (select count(*) from public.jobs where status = 'succeeded' and finished_at >= p_today),
        'processed_today_ms', (
            select coalesce(sum(v.duration_ms), 0) from public.jobs as j join public.videos as v on v.id = j.video_id
            where j.status = 'succeeded' and j.finished_at >= p_today
        ),
        'failed_today', (select count(*) from public.jobs where status = 'failed' and finished_at >= p_today),
        'last_failure', coalesce((
            select error_message from public.jobs where status = 'failed' and finished_at >= p_today
            order by finished_at desc, seq desc limit 1
        ), '')
    )
$$;

-- Who may call what --------------------------------------------------------------------------------------------------
-- Every function is for the server alone, but those by which a person reads sums and the list of what is theirs: these
-- run with the caller's rights, so that they see the caller's rows.

do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure from pg_catalog.pg_proc as p
        where p.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
            and p.proowner = (select oid from pg_catalog.pg_roles where rolname = current_user)
            and not exists (select from pg_catalog.pg_depend where objid = p.oid and deptype = 'e')
    loop
        execute format('revoke all on function %s from public, anon, authenticated', v_function);
        execute format('grant execute on function %s to service_role', v_function);
    end loop;
end $$;
grant execute on function private.clock(), private.get_period(), private.get_position(uuid) to authenticated;
grant execute on function public.get_used_ms(uuid), public.get_stored_bytes(uuid),
    public.list_cards(uuid, uuid, text[], text[], text, bigint, bigint) to authenticated;

insert into private.installation (version) values ('20261123000300');
notify pgrst, 'reload schema';
