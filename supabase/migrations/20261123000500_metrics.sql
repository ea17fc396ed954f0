-- Counters for the metrics: they only rise, also when a video goes with its jobs. Of seconds, a total; of the durations
-- in `…_le`, how many were not above the label.

create table public.tallies (
    name text not null,
    label text not null,
    count bigint not null,
    total double precision not null,
    primary key (name, label)
);
alter table public.tallies enable row level security;
revoke all on public.tallies from public, anon, authenticated;
grant select on public.tallies to service_role;

create function private.add_tally(p_name text, p_label text, p_total double precision)
returns void language sql set search_path = '' as $$
    insert into public.tallies as t (name, label, count, total) values (p_name, p_label, 1, p_total)
    on conflict (name, label) do update set count = t.count + 1, total = t.total + excluded.total
$$;

create function private.add_duration(p_name text, p_seconds double precision, p_bounds integer[])
returns void language sql set search_path = '' as $$
    select private.add_tally(p_name, '', greatest(0, p_seconds));
    insert into public.tallies as t (name, label, count, total)
    select p_name || '_le', bound, 1, 0 from unnest(p_bounds) as bound where p_seconds <= bound
    on conflict (name, label) do update set count = t.count + 1
$$;

-- These run at the end of a transaction, so that nobody who holds a counter waits for anything else.
-- A job that was lost waits anew, which is no person's first wait.
create function private.tally_start() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    perform private.add_duration(
        'wait', extract(epoch from new.started_at - new.created_at)::double precision,
        array[1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 43200]
    );
    return null;
end $$;

create function private.tally_end() returns trigger language plpgsql security definer set search_path = '' as $$
declare
    v_stage record;
begin
    perform private.add_tally('ended', new.status, 0);
    if new.status = 'failed' then
        perform private.add_tally('failed', new.error_code, 0);
    elsif new.status = 'succeeded' then
        perform private.add_duration(
            'work', extract(epoch from new.finished_at - new.started_at)::double precision,
            array[10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200]
        );
        perform private.add_tally('video', '', duration_ms / 1000.0) from public.videos where id = new.video_id;
        if jsonb_typeof(new.result -> 'timings') = 'object' then
            for v_stage in select key, value from jsonb_each(new.result -> 'timings') order by key loop
                if v_stage.key <> 'seconds' and jsonb_typeof(v_stage.value) = 'number' then
                    perform private.add_tally('stage', v_stage.key, v_stage.value::double precision);
                end if;
            end loop;
        end if;
    end if;
    return null;
end $$;

create function private.tally_loss() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    perform private.add_tally('given_back', coalesce(new.data ->> 'reason', ''), 0);
    return null;
end $$;

create constraint trigger jobs_tallied_at_start after update on public.jobs deferrable initially deferred
    for each row when (old.status = 'queued' and new.status = 'running' and new.attempt = 1)
    execute function private.tally_start();
create constraint trigger jobs_tallied_at_end after update on public.jobs deferrable initially deferred
    for each row when (old.status <> new.status and new.finished_at is not null)
    execute function private.tally_end();
create constraint trigger job_events_tallied after insert on public.job_events deferrable initially deferred
    for each row when (new.event = 'worker_lost')
    execute function private.tally_loss();

-- All that the metrics tell, in one value.
create function public.get_figures() returns jsonb language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'running', (select count(*) from public.jobs where status = 'running'),
        'tallies', (select coalesce(jsonb_agg(to_jsonb(t) order by name, label), '[]') from public.tallies as t)
    ) || (
        select jsonb_build_object(
            'queued', count(*),
            'longest_wait_s', coalesce(extract(epoch from max(private.clock() - updated_at)), 0)::double precision,
            'mean_wait_s', coalesce(extract(epoch from avg(private.clock() - updated_at)), 0)::double precision
        ) from public.jobs where status = 'queued'
    ) || (
        select jsonb_build_object(
            'videos', count(*),
            'video_s', coalesce(sum(duration_ms), 0)::double precision / 1000,
            'original_bytes', coalesce(sum(size_bytes), 0)::bigint
        ) from public.videos
    ) || (
        select jsonb_build_object('result_bytes', coalesce(sum(stored_bytes), 0)::bigint)
        from public.jobs where stored_bytes > 0
    )
$$;

revoke all on function public.get_figures(), private.add_tally(text, text, double precision),
    private.add_duration(text, double precision, integer[]), private.tally_start(), private.tally_end(),
    private.tally_loss() from public, anon, authenticated;
grant execute on function public.get_figures() to service_role;

update private.installation set version = '20261123000500';
notify pgrst, 'reload schema';
