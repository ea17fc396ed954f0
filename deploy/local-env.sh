#!/bin/sh
# Prints settings with fresh secrets for everything on this machine: (umask 077; sh deploy/local-env.sh >> .env)
set -eu

random() { openssl rand -hex "$1"; }
encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

signing_key=$(random 32)
password=$(random 24)

# An API key of a Supabase project is a token that names the role it opens, good until 2106.
sign() {
  body=$(printf '{"alg":"HS256","typ":"JWT"}' | encode).$(printf '{"iss":"supabase","role":"%s","exp":4294967295}' "$1" | encode)
  printf '%s.%s' "$body" "$(printf '%s' "$body" | openssl dgst -sha256 -hmac "$signing_key" -binary | encode)"
}

cat << END

# Made by deploy/local-env.sh: state, files and queue in containers of this machine
COMPOSE_PROFILES=local
REDIS_PASSWORD=$(random 24)
POSTGRES_PASSWORD=$password
SUPABASE_URL=http://supabase:8000
SUPABASE_SECRET_KEY=$(sign service_role)
SUPABASE_PUBLISHABLE_KEY=$(sign anon)
SUPABASE_SIGNING_KEY=$signing_key
SUPABASE_DB_URL=postgresql://postgres:$password@postgres:5432/postgres
WASABI_BUCKET=videos
WASABI_REGION=us-east-1
WASABI_ENDPOINT=http://s3:8333
# Where browsers reach the file store: https:// and FILES_DOMAIN as soon as they run elsewhere
WASABI_PUBLIC_ENDPOINT=http://localhost:8333
WASABI_ACCESS_KEY_ID=AK$(random 9)
WASABI_SECRET_ACCESS_KEY=$(random 24)
END
