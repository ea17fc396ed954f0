-- What Supabase has and a bare PostgreSQL lacks: the roles of its API, and auth.uid(). `make migrate` applies it where it
-- is missing; it must never become a migration. Doing it again changes nothing.

do $$
declare
  name text;
begin
  foreach name in array array['anon', 'authenticated', 'service_role', 'authenticator'] loop
    continue when exists (select from pg_catalog.pg_roles where rolname = name);
    begin
      execute format('create role %I noinherit %s', name,
        case name when 'service_role' then 'bypassrls' when 'authenticator' then 'login' else '' end);
    exception when duplicate_object or unique_violation then
      null;  -- roles belong to the whole server: another database's set-up made it just now
    end;
  end loop;
end $$;

-- PostgREST signs in as authenticator and becomes the role that a token names.
grant anon, authenticated, service_role to authenticator;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';

grant usage on schema public to anon, authenticated, service_role;

create schema if not exists auth;
grant usage on schema auth to public;  -- also to the owner of the tables, whose policies call it

create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

create or replace function auth.uid() returns uuid language sql stable as $$
  select nullif(auth.jwt() ->> 'sub', '')::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
  select auth.jwt() ->> 'role'
$$;
