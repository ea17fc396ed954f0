"""A Supabase project on this machine: real PostgreSQL, real PostgREST, and a gateway in front that checks API keys.

What Supabase sets up before a project's first migration is set up here alike: the owner of the tables is no superuser,
and the roles of the API are given rights on every new table, so that a missing policy shows.
"""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from psycopg import sql
from starlette.types import ASGIApp

from adapters.supabase.migrate import ROLES, migrate_database
from tests.servers.gateway import Gateway
from tests.servers.postgres import Postgres
from tests.servers.postgrest import Postgrest

TEMPLATE = "migrated"
EMPTY = "supabase"
"""The databases that others are copies of: with all migrations, and as Supabase hands a project over."""

_AS_OWNER = """
create role postgres login createdb createrole bypassrls password {password};
grant anon, authenticated, service_role, authenticator to postgres;
alter role authenticator password {password};
"""
_PER_DATABASE = """
create schema extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;
"""
TEST_CLOCK = """
create or replace function private.clock() returns timestamptz language sql stable set search_path = '' as $$
  select date_trunc('milliseconds', now()) + interval '1 millisecond' * coalesce(
    (nullif(current_setting('request.headers', true), '')::json ->> 'x-test-ahead-ms')::double precision, 0)
$$
"""
"""Tells a later time to requests that ask for it; else what the migrations' own clock tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What opens a project. PostgREST knows both ways of signing: an EC key, and the older shared secret."""

    publishable_key: str
    secret_key: str
    signing_key: str
    """Private JWK (ES256) as JSON."""
    jwt_secret: str
    """For HS256."""
    verifying_keys: str
    """JWKS as JSON."""

    def make_tokens(self) -> dict[str, str]:
        """Return the token that each API key stands for; the keys of older projects are such tokens themselves."""
        anon, service = (
            jwt.encode({"iss": "supabase", "role": role, "exp": 2**32}, self.jwt_secret, algorithm="HS256")
            for role in ("anon", "service_role")
        )
        return {self.publishable_key: anon, self.secret_key: service, anon: anon, service: service}


def make_keys() -> Keys:
    """Return new keys."""
    private = ec.generate_private_key(ec.SECP256R1())
    shared = {"kid": secrets.token_hex(8), "alg": "ES256", "use": "sig"}
    jwt_secret = secrets.token_hex(32)
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True) | shared
    octets = base64.urlsafe_b64encode(jwt_secret.encode()).decode().rstrip("=")
    return Keys(
        publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
        signing_key=json.dumps(ECAlgorithm.to_jwk(private, as_dict=True) | shared),
        jwt_secret=jwt_secret,
        verifying_keys=json.dumps({"keys": [public, {"kty": "oct", "alg": "HS256", "k": octets}]}),
    )


class Cluster:
    """The PostgreSQL that holds the projects' databases. Raises `ServerMissing`."""

    def __init__(self) -> None:
        self.postgres = Postgres()
        try:
            self._prepare()
        except BaseException:
            self.postgres.close()
            raise

    def url(self, database: str, user: str = "postgres") -> str:
        """Return the address of a database, for the owner of its tables unless somebody else is named."""
        return self.postgres.url(database, user=user)

    def create(self, database: str, *, migrated: bool) -> None:
        """Make a database, as Supabase hands a project over or with all migrations."""
        if migrated and not self._exists(TEMPLATE):
            self._make_template()
        self._copy(TEMPLATE if migrated else EMPTY, database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._run("postgres", sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database)))

    def _prepare(self) -> None:
        password = sql.Literal(self.postgres.password)
        self._run("postgres", sql.SQL("create database {}").format(sql.Identifier(EMPTY)))
        self._run(EMPTY, ROLES.read_text("utf-8"))
        self._run(EMPTY, sql.SQL(_AS_OWNER).format(password=password))
        self._run(EMPTY, _PER_DATABASE)
        self._run("postgres", sql.SQL("alter database {} owner to postgres").format(sql.Identifier(EMPTY)))

    def _make_template(self) -> None:
        self._copy(EMPTY, TEMPLATE)
        try:
            migrate_database(self.url(TEMPLATE))
            with psycopg.connect(self.url(TEMPLATE), autocommit=True) as connection:
                if connection.execute("select to_regproc('private.clock')").fetchone() != (None,):
                    connection.execute(TEST_CLOCK)
        except BaseException:
            self.drop(TEMPLATE)
            raise

    def _copy(self, source: str, target: str) -> None:
        self._run(
            "postgres",
            sql.SQL("create database {} template {} owner postgres").format(
                sql.Identifier(target), sql.Identifier(source)
            ),
        )

    def _exists(self, database: str) -> bool:
        with psycopg.connect(self.postgres.url()) as connection:
            found = connection.execute("select from pg_catalog.pg_database where datname = %s", [database])
            return found.fetchone() is not None

    def _run(self, database: str, statement: str | sql.Composed) -> None:
        with psycopg.connect(self.postgres.url(database), autocommit=True) as connection:
            connection.execute(statement.encode() if isinstance(statement, str) else statement)


class LocalSupabase:
    """One project: an address and its keys, over a database of its own. Raises `ServerMissing`.

    ``gateway`` can be made slow or lossy. Closing the project that holds the cluster closes all others.
    """

    def __init__(
        self,
        cluster: Cluster | None = None,
        *,
        name: str = "main",
        migrated: bool = True,
        auth_app: ASGIApp | None = None,
    ) -> None:
        self._owns_cluster = cluster is None
        self._projects: list[LocalSupabase] = []
        self.cluster = cluster or Cluster()
        self.keys = make_keys()
        self.database = name
        with ExitStack() as undo:
            if self._owns_cluster:
                undo.callback(self.cluster.postgres.close)
            self.cluster.create(name, migrated=migrated)
            undo.callback(self.cluster.drop, name)
            self.rest = Postgrest(self.cluster.url(name, "authenticator"), jwt_keys=self.keys.verifying_keys)
            undo.callback(self.rest.close)
            self.gateway = Gateway(tokens=self.keys.make_tokens(), rest_socket=self.rest.socket, auth_app=auth_app)
            undo.callback(self.gateway.stop)
            self._undo = undo.pop_all()

    @property
    def url(self) -> str:
        """Address of the project, without a slash at the end."""
        return self.gateway.url

    @property
    def secret_key(self) -> str:
        """Key of the server."""
        return self.keys.secret_key

    @property
    def publishable_key(self) -> str:
        """Key of everybody."""
        return self.keys.publishable_key

    @property
    def signing_key(self) -> str:
        """Private JWK (ES256) as JSON, which signs tokens for single people."""
        return self.keys.signing_key

    @property
    def db_url(self) -> str:
        """Its PostgreSQL, as the owner of the tables, who is no superuser."""
        return self.cluster.url(self.database)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a product whose state lives here."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_SECRET_KEY": self.secret_key,
            "SUPABASE_PUBLISHABLE_KEY": self.publishable_key,
            "SUPABASE_SIGNING_KEY": self.signing_key,
            "SUPABASE_DB_URL": self.db_url,
        }

    def make_project(self, name: str = "", *, migrated: bool = True, auth_app: ASGIApp | None = None) -> LocalSupabase:
        """Return another project, empty and with keys of its own, in the same PostgreSQL."""
        unique = f"{name or 'project'}_{secrets.token_hex(4)}"
        project = LocalSupabase(self.cluster, name=unique, migrated=migrated, auth_app=auth_app)
        self._projects.append(project)
        return project

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection as superuser, past all policies; what it says is stored at once."""
        return psycopg.connect(self.cluster.postgres.url(self.database), autocommit=True)

    def stop_rest(self, *, refuse: bool = False) -> None:
        """Stop PostgREST: the gateway answers 502, or nobody answers at all."""
        self.rest.stop()
        if refuse:
            self.gateway.stop()

    def start_rest(self) -> None:
        """Start again what `stop_rest` stopped, at the same address."""
        self.rest.start()
        self.gateway.start()

    def stop_database(self) -> None:
        """Stop PostgreSQL, for all projects in it."""
        self.cluster.postgres.stop()

    def start_database(self) -> None:
        """Start PostgreSQL again, and wait until this project's PostgREST has found it."""
        self.cluster.postgres.start()
        self.rest.wait_until_ready()

    def close(self) -> None:
        """End it and remove its data; doing it again changes nothing."""
        while self._projects:
            self._projects.pop().close()
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
