-- Gives POSTGRES_PASSWORD to the users that sign in with it, at the first start and when it is changed: PostgREST signs in
-- as authenticator, which supabase/local/roles.sql made without a password.
\getenv password POSTGRES_PASSWORD
alter role postgres password :'password';
alter role authenticator password :'password';
