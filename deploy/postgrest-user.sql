-- PostgREST signs in as authenticator, which supabase/local/roles.sql made without a password.
\getenv password POSTGRES_PASSWORD
alter role authenticator password :'password';
