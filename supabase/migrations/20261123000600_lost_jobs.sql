-- A job that somebody cancels may end with its process, in the middle of speech: then nothing was lost, and no worker is
-- counted as lost.

create or replace function private.take_back(p_job public.jobs, p_reason text, p_sentence text)
returns public.jobs language plpgsql set search_path = '' as $$
declare
    v_job public.jobs;
begin
    if p_job.cancel_requested then
        update public.jobs set status = 'cancelled', lease_until = null, finished_at = private.clock()
        where id = p_job.id returning * into v_job;
        return v_job;
    end if;
    perform private.log_event(p_job, 'worker_lost', json_build_object(
        'reason', p_reason, 'worker', p_job.worker_id, 'attempt', p_job.attempt, 'stage', p_job.stage
    ));
    if p_job.attempt >= p_job.max_attempts then
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

update private.installation set version = '20261123000600';
