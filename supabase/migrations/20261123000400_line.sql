-- The order of the line: which of the waiting jobs is taken next. Fair queueing by finish tags (Demers, Keshav and
-- Shenker, 1989), with ageing; the program's adapters/sqlite/line.py says how and why, and keeps the same order.

-- Of each person, what was worked on lately and when last.
create index jobs_worked_on on public.jobs (user_id, finished_at) where finished_at is not null and started_at is not null;

create function private.list_line() returns table (job_id uuid, duration_ms bigint, place bigint)
language sql stable set search_path = '' as $$
    with moment as materialized (select private.clock() as now),
    waiting as materialized (
        select j.id, j.seq, j.user_id, j.created_at, v.duration_ms
        from public.jobs as j join public.videos as v on v.id = j.video_id where j.status = 'queued'
    ),
    person as materialized (select distinct user_id from waiting),
    -- a person's jobs one behind the other, those that were worked on before those that wait
    work as (
        select null::uuid as id, 0 as seq, j.user_id, null::timestamptz as created_at, v.duration_ms,
            (select now from moment) as until, 0 as rank
        from public.jobs as j join public.videos as v on v.id = j.video_id where j.status = 'running'
        union all
        select null, 0, j.user_id, null, v.duration_ms, j.finished_at, 0
        from person
        join public.jobs as j on j.user_id = person.user_id
            and j.finished_at > (select now from moment) - interval '1 hour' and j.started_at is not null
        join public.videos as v on v.id = j.video_id
        union all
        select null, 0, user_id, null, 0, (
            select max(j.finished_at) from public.jobs as j
            where j.user_id = person.user_id and j.finished_at is not null and j.started_at is not null
        ), 0
        from person
        union all
        select id, seq, user_id, created_at, duration_ms, created_at,
            case
                when duration_ms < 5 * 60 * 1000 or created_at <= (select now from moment) - interval '6 hours' then 1
                else 2
            end
        from waiting
    ),
    own as (
        select id, seq, created_at, duration_ms, count(id) over mine as turn, sum(duration_ms) over mine as sum_ms,
            greatest(
                0, extract(epoch from (select now from moment) - max(until) over mine) * 1000
            )::bigint as wait_ms
        from work
        window mine as (partition by user_id order by rank, created_at, seq rows unbounded preceding)
    )
    select id, duration_ms, row_number() over (
        order by sum_ms - case turn when 1 then wait_ms / 2 else 0 end, created_at, seq
    )
    from own where id is not null
$$;

-- Reveals numbers about others' jobs, and nothing else of them.
create function private.get_positions(p_job_ids uuid[]) returns table (job_id uuid, place bigint)
language sql stable security definer set search_path = '' as $$
    select job_id, place from private.list_line() where cardinality(p_job_ids) > 0 and job_id = any (p_job_ids)
$$;

create or replace function public.get_position(p_job_id uuid)
returns bigint language sql stable set search_path = '' as $$
    select place from private.get_positions(array[p_job_id])
$$;

-- Returns [{job, duration_ms}] of the first in line, in one value, since the rows of an answer may be limited.
create function public.list_queued_jobs(p_limit bigint) returns jsonb language sql stable set search_path = '' as $$
    select coalesce(
        jsonb_agg(jsonb_build_object('job', to_jsonb(j), 'duration_ms', first.duration_ms) order by first.place), '[]'
    )
    from (select * from private.list_line() order by place limit p_limit) as first
    join public.jobs as j on j.id = first.job_id
$$;

-- As before, but that all places are asked for at once.
create or replace function public.list_cards(
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
        with shown as materialized (
            select * from public.videos as v where %2$s order by %1$s offset $5 limit $6
        ),
        places as materialized (
            select * from private.get_positions(array(
                select j.id from shown as v join public.jobs as j on j.id = v.newest_job_id where j.status = 'queued'
            ))
        )
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'video', to_jsonb(v) - array['title_key', 'details_key', 'file_name_key', 'search_text'],
                'job', to_jsonb(j),
                'current', to_jsonb(c),
                'position', p.place
            ) order by %1$s
        ), '[]')
        from shown as v
        join public.jobs as j on j.id = v.newest_job_id
        left join public.jobs as c on c.id = v.current_job_id and c.id <> j.id
        left join places as p on p.job_id = j.id
        $query$,
        v_order, v_where
    ) into v_cards using p_user_id, p_video_id, p_words, p_states, p_offset, p_limit;
    return jsonb_build_object('total', v_total, 'cards', v_cards);
end $$;

drop function private.get_position(uuid);

revoke all on function private.list_line(), private.get_positions(uuid[]), public.list_queued_jobs(bigint)
    from public, anon, authenticated;
grant execute on function private.list_line(), private.get_positions(uuid[]), public.list_queued_jobs(bigint)
    to service_role;
grant execute on function private.get_positions(uuid[]) to authenticated;

update private.installation set version = '20261123000400';
notify pgrst, 'reload schema';
