"""The interface as somebody outside meets it: with no key, a wrong token, or a good token and another's ids.

Tables and functions are listed from the catalog: one that is new has to be put into a list below first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.supabase import SupabaseDatabase
from jobs.models import LinkKind, Role, User, WorkerInfo
from tests.database import FAILURE, claim, make_charge, make_job, make_person, make_upload, make_video, process
from tests.servers.supabase import LocalSupabase

OWN_ROWS = {
    "users": "id",
    "uploads": "user_id",
    "videos": "user_id",
    "jobs": "user_id",
    "job_events": "user_id",
    "charges": "user_id",
}
"""Tables of which a person may read their own rows, and the column that says whose they are."""
SERVERS_ROWS = {"credentials", "sessions", "links", "throttles", "workers", "secrets", "tallies"}
READABLE_COLUMNS = {
    "users": "id,username,full_name,role,is_active,quota_minutes,quota_bytes,options,created_at",
}
"""Where it is not all of them."""
PEOPLES_FUNCTIONS = {"list_cards", "get_used_ms", "get_stored_bytes"}
SERVERS_FUNCTIONS = {
    "add_failure", "beat_job", "beat_worker", "claim_job", "create_job", "create_user", "create_video", "delete_user",
    "delete_video", "describe_database", "finish_job", "get_figures", "get_position", "get_session",
    "get_session_with_user", "get_totals", "keep_secret",
    "list_active_job_ids", "list_jobs", "list_older_videos", "list_open_links", "list_open_sessions",
    "list_queued_jobs", "list_speeds",
    "list_unfinished_uploads", "list_users", "list_videos_with_jobs", "list_workers", "lock_throttle", "log_job",
    "purge_links", "purge_sessions", "purge_throttles", "purge_uploads", "raise_token_version", "release_job",
    "remove_worker", "request_cancel", "requeue_expired_jobs", "set_active", "set_password", "set_role",
    "set_session_tokens", "touch_session", "touch_upload", "use_link",
}  # fmt: skip
PRIVATE_FUNCTIONS_FOR_PEOPLE = {"clock", "get_period", "get_positions"}

Sign = Callable[[LocalSupabase, str], Mapping[str, str]]


def sign(project: LocalSupabase, user_id: str, **changes: object) -> str:
    """Return a token as the product signs them, with some claims of one's own."""
    key = json.loads(project.signing_key)
    now = int(time.time())
    claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "iat": now, "exp": now + 600, **changes}
    return jwt.encode(claims, jwt.PyJWK.from_dict(key).key, algorithm="ES256", headers={"kid": key["kid"]})


def headers_of(project: LocalSupabase, token: str) -> Mapping[str, str]:
    return {"apikey": project.publishable_key, "Authorization": f"Bearer {token}"}


def forge(project: LocalSupabase, user_id: str) -> str:
    header = {"kid": json.loads(project.signing_key)["kid"]}
    claims = {"sub": user_id, "role": "authenticated", "exp": int(time.time()) + 600}
    return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=header)


def confuse(project: LocalSupabase, user_id: str) -> str:
    """Sign with HS256 and what everybody may know: the public half of the key."""
    public = {name: value for name, value in json.loads(project.signing_key).items() if name != "d"}
    secret = json.dumps(public) + "0" * 32
    return jwt.encode({"sub": user_id, "role": "service_role", "exp": 2**32}, secret, headers={"kid": public["kid"]})


REFUSED: Mapping[str, Sign] = {
    "no key": lambda _project, _ann: {},
    "an unknown key": lambda _project, _ann: {"apikey": "sb_publishable_wrong"},
    "anon": lambda project, _ann: {"apikey": project.publishable_key},
    "a good token without a key": lambda project, ann: {"Authorization": f"Bearer {sign(project, ann)}"},
    "forged": lambda project, ann: headers_of(project, forge(project, ann)),
    "expired": lambda project, ann: headers_of(project, sign(project, ann, exp=int(time.time()) - 60)),
    "not yet good": lambda project, ann: headers_of(project, sign(project, ann, nbf=int(time.time()) + 600)),
    "alg none": lambda project, ann: headers_of(
        project, jwt.encode({"sub": ann, "role": "service_role", "exp": 2**32}, "", algorithm="none")
    ),
    "confused": lambda project, ann: headers_of(project, confuse(project, ann)),
    "no token": lambda project, _ann: headers_of(project, "abc"),
    "role anon": lambda project, ann: headers_of(project, sign(project, ann, role="anon")),
    "role of the owner": lambda project, ann: headers_of(project, sign(project, ann, role="postgres")),
    "role of the superuser": lambda project, ann: headers_of(project, sign(project, ann, role="supabase_admin")),
    "role authenticator": lambda project, ann: headers_of(project, sign(project, ann, role="authenticator")),
}
"""Who is told nothing at all."""


@dataclass(frozen=True)
class Outside:
    """A project with two people in it, and what each has."""

    project: LocalSupabase
    http: httpx.Client
    ann: User
    bob: User
    his: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]
    """Their columns with types, but those that nobody can write."""
    functions: Mapping[str, Mapping[str, str]]
    """Their arguments with types."""

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: object = None) -> httpx.Response:
        """Return the answer to one request."""
        return self.http.request(method, f"{self.project.url}/rest/v1/{path}", headers=dict(headers), json=body)

    def as_ann(self) -> Mapping[str, str]:
        """Return the headers of a request of hers."""
        return headers_of(self.project, sign(self.project, self.ann.id))

    def arguments(self, function: str) -> dict[str, object]:
        """Return arguments about Bob that fit a function."""
        return {name: self._fill(name, kind) for name, kind in self.functions[function].items()}

    def values(self, table: str, user_id: str) -> dict[str, object]:
        """Return a row that could be inserted."""
        row = {name: self._fill(f"p_{name}", kind) for name, kind in self.tables[table].items()}
        return {name: user_id if name == "user_id" else value for name, value in row.items()}

    def _fill(self, name: str, kind: str) -> object:
        ids = {f"p_{key}": value for key, value in self.his.items()}
        by_type: Mapping[str, object] = {
            "uuid": self.bob.id, "text": "x", "boolean": True, "jsonb": {}, "text[]": [],
            "timestamp with time zone": "2031-01-01T00:00:00Z",
        }  # fmt: skip
        if name in ids and kind in ("uuid", "text"):
            return ids[name]
        return by_type.get(kind.replace("timestamp(3)", "timestamp"), 1)


def query(project: LocalSupabase, text: str) -> list[tuple[Any, ...]]:
    with project.connect() as connection:
        return connection.execute(text).fetchall()


def read_catalog(project: LocalSupabase) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Return every table or view, and every function, that PostgREST may serve."""
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in query(
        project,
        """
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and a.attnum > 0 and not a.attisdropped and a.attidentity = '' and a.attgenerated = ''
        """,
    ):
        tables.setdefault(table, {})[column] = kind
    functions = {
        name: dict(zip(names or [], kinds, strict=True))
        for name, names, kinds in query(
            project,
            """
            select p.proname, p.proargnames[1:p.pronargs],
                array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a(t, n) order by n)
            from pg_proc as p where p.pronamespace = 'public'::regnamespace
            """,
        )
    }
    return tables, functions


def dump(project: LocalSupabase) -> dict[str, object]:
    """Return every row of every table."""
    tables = query(
        project, "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    return {
        table: query(project, f"select to_jsonb(t) from public.{table} as t order by to_jsonb(t)::text")
        for (table,) in tables
    }


@pytest.fixture(scope="module")
def two_people(shared_project: LocalSupabase) -> Iterator[Outside]:
    """Two people with rows in every table."""
    project = shared_project
    database = SupabaseDatabase(project.url, secret_key=project.secret_key)
    ann, bob = make_person(database, "ann"), make_person(database, "bob", role=Role.ADMIN)
    his: dict[str, str] = {}
    now = datetime.now(UTC)
    later = now.replace(year=2999)
    for person in (bob, ann):
        session = database.sessions.open(person.id, token_version=1, label="", expires_at=later)
        database.links.create(
            LinkKind.RESET, token_hash=f"hash of {person.id}", user_id=person.id, role=Role.USER, note="",
            created_by=person.id, expires_at=later,
        )  # fmt: skip
        upload = make_upload(database, person)
        video, job = make_video(database, person, f"Video of {person.username}", charge=make_charge("k"))
        process(database, job)
        process(database, make_job(database, video), FAILURE)
        running = make_job(database, video)
        claim(database, running)
        waiting_video, waiting = make_video(database, person)
        his = his or {
            "user_id": bob.id, "username": "bob", "session_id": session.id, "upload_id": upload.id,
            "job_id": waiting.id, "video_id": waiting_video.id, "id": waiting_video.id, "worker": "worker-1",
            "token_hash": f"hash of {person.id}",
        }  # fmt: skip
    database.throttles.add_failure("account:bob", forget_after_s=60)
    database.get_secret("cookie_key", lambda: "very secret")
    database.workers.beat(WorkerInfo(id="worker-1", host="h", pid=1, started_at=now, seen_at=now, info={}))
    database.close()
    tables, functions = read_catalog(project)
    with httpx.Client(timeout=30, trust_env=False, verify=False) as http:
        yield Outside(project=project, http=http, ann=ann, bob=bob, his=his, tables=tables, functions=functions)


@pytest.fixture
def outside(two_people: Outside) -> Iterator[Outside]:
    """Two people; whatever a test does, nothing changes."""
    before = dump(two_people.project)
    assert all(before.values()), "every table has rows that could be seen"
    yield two_people
    assert dump(two_people.project) == before


def is_denied(answer: httpx.Response) -> bool:
    """Tell whether nothing was answered but that it is not allowed."""
    body = answer.json()
    return answer.status_code in (401, 403) and isinstance(body, dict) and set(body) <= {
        "code", "message", "details", "hint",
    }  # fmt: skip


# --- what there is ---


def test_every_table_and_function_is_decided_on(shared_project: LocalSupabase) -> None:
    tables, functions = read_catalog(shared_project)
    assert set(tables) == {*OWN_ROWS, *SERVERS_ROWS}
    assert set(functions) == PEOPLES_FUNCTIONS | SERVERS_FUNCTIONS
    assert not PEOPLES_FUNCTIONS & SERVERS_FUNCTIONS


def test_every_table_has_row_level_security(shared_project: LocalSupabase) -> None:
    bare = query(
        shared_project,
        """
        select relname from pg_class
        where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind = 'r'
            and not relrowsecurity
        """,
    )
    assert not bare


def test_rights_are_granted_to_nobody_else(shared_project: LocalSupabase) -> None:
    granted = query(
        shared_project,
        """
        select distinct grantee, table_name, privilege_type from information_schema.role_table_grants
        where table_schema in ('public', 'private') and grantee in ('anon', 'authenticated', 'PUBLIC')
        """,
    )
    assert set(granted) == {("authenticated", table, "SELECT") for table in OWN_ROWS if table not in READABLE_COLUMNS}
    columns = query(
        shared_project,
        """
        select table_name, column_name, privilege_type from information_schema.column_privileges
        where table_schema = 'public' and grantee = 'authenticated' and table_name = 'users'
        """,
    )
    assert set(columns) == {("users", name, "SELECT") for name in READABLE_COLUMNS["users"].split(",")}
    for role, expected in (
        ("anon", set()),
        ("authenticated", PEOPLES_FUNCTIONS | PRIVATE_FUNCTIONS_FOR_PEOPLE),
    ):
        functions = query(
            shared_project,
            f"""
            select proname from pg_proc
            where pronamespace in ('public'::regnamespace, 'private'::regnamespace)
                and has_function_privilege('{role}', oid, 'execute')
            """,
        )
        assert {name for (name,) in functions} == expected


def test_functions_find_nothing_by_a_search_path(shared_project: LocalSupabase) -> None:
    loose = query(
        shared_project,
        """
        select proname from pg_proc
        where pronamespace in ('public'::regnamespace, 'private'::regnamespace)
            and not coalesce(proconfig @> array['search_path=""'], false)
        """,
    )
    assert not loose


def test_what_is_made_later_belongs_to_nobody_either(local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("later")
    with psycopg.connect(project.db_url, autocommit=True) as connection:
        connection.execute("create table public.later (id bigint generated always as identity)")
        connection.execute("create function public.do_later() returns int language sql as 'select 1'")
        for role in ("anon", "authenticated"):
            rights = connection.execute(
                f"""
                select has_table_privilege('{role}', 'public.later', 'select, insert, update, delete, truncate'),
                    has_sequence_privilege('{role}', 'public.later_id_seq', 'usage, select, update'),
                    has_function_privilege('{role}', 'public.do_later()', 'execute')
                """
            ).fetchone()
            assert rights == (False, False, False), role
    project.close()


# --- without a good token ---


@pytest.mark.parametrize("who", REFUSED)
def test_strangers_are_told_nothing(outside: Outside, who: str) -> None:
    headers = REFUSED[who](outside.project, outside.ann.id)
    for table in outside.tables:
        assert is_denied(outside.ask("GET", table, headers)), table
        assert is_denied(outside.ask("POST", table, headers, outside.values(table, outside.ann.id))), table
        assert is_denied(
            outside.ask("PATCH", table, headers, dict([*outside.values(table, outside.ann.id).items()][:1]))
        )
        assert is_denied(outside.ask("DELETE", table, headers)), table
    for function in outside.functions:
        assert is_denied(outside.ask("POST", f"rpc/{function}", headers, outside.arguments(function))), function


# --- with a person's own token ---


@pytest.mark.parametrize("table", OWN_ROWS)
def test_a_person_sees_their_own_rows(outside: Outside, table: str) -> None:
    owner, columns = OWN_ROWS[table], READABLE_COLUMNS.get(table, "*")
    rows = outside.ask("GET", f"{table}?select={columns}", outside.as_ann()).json()
    assert {row[owner] for row in rows} == {outside.ann.id}
    for condition in (
        f"{owner}=eq.{outside.bob.id}",
        f"{owner}=neq.{outside.ann.id}",
        f"not.and=({owner}.eq.{outside.ann.id})",
    ):
        assert outside.ask("GET", f"{table}?select={columns}&{condition}", outside.as_ann()).json() == []
    counted = outside.ask("HEAD", f"{table}?select={owner}", {**outside.as_ann(), "Prefer": "count=exact"})
    assert counted.headers["content-range"].endswith(f"/{len(rows)}")


@pytest.mark.parametrize("table", [*OWN_ROWS, *sorted(SERVERS_ROWS)])
def test_a_person_writes_nothing(outside: Outside, table: str) -> None:
    for user_id in (outside.ann.id, outside.bob.id):
        assert is_denied(outside.ask("POST", table, outside.as_ann(), outside.values(table, user_id)))
        upsert = {**outside.as_ann(), "Prefer": "resolution=merge-duplicates"}
        assert is_denied(outside.ask("POST", table, upsert, outside.values(table, user_id)))
    for name, value in outside.values(table, outside.ann.id).items():
        assert is_denied(outside.ask("PATCH", table, outside.as_ann(), {name: value})), name
    if table in OWN_ROWS:
        mine = f"{table}?{OWN_ROWS[table]}=eq.{outside.ann.id}"
        assert is_denied(outside.ask("PATCH", mine, outside.as_ann(), {OWN_ROWS[table]: outside.bob.id}))
        assert is_denied(outside.ask("DELETE", mine, outside.as_ann()))
    assert is_denied(outside.ask("DELETE", table, outside.as_ann()))


@pytest.mark.parametrize("table", sorted(SERVERS_ROWS))
def test_a_person_does_not_see_what_is_the_servers(outside: Outside, table: str) -> None:
    assert is_denied(outside.ask("GET", table, outside.as_ann()))
    assert is_denied(outside.ask("GET", f"{table}?select=count", outside.as_ann())) or (
        outside.ask("GET", f"{table}?select=count", outside.as_ann()).status_code == 400
    )


@pytest.mark.parametrize("column", ["*", "token_version", "search_text", "username_key", "id,full_name_key"])
def test_a_person_sees_not_every_column_of_accounts(outside: Outside, column: str) -> None:
    assert is_denied(outside.ask("GET", f"users?select={column}", outside.as_ann()))
    assert is_denied(outside.ask("GET", "users?select=id&token_version=gt.0", outside.as_ann()))
    assert is_denied(outside.ask("GET", "users?select=id&order=token_version", outside.as_ann()))


@pytest.mark.parametrize(
    "path",
    [
        "videos?select=*,jobs(*)",
        "jobs?select=*,videos(*),job_events(*),charges(*)",
        "job_events?select=*,jobs(*,videos(*))",
        "charges?select=*,jobs(*)",
        "uploads?select=*,users(id,username)",
        "videos?select=*,users!inner(id,username)&users.username=eq.bob",
        "users?select=id,videos(*),uploads(*),charges(*)",
    ],
)
def test_what_hangs_on_a_row_is_kept_apart_too(outside: Outside, path: str) -> None:
    answer = outside.ask("GET", path, outside.as_ann())
    assert answer.status_code == 200, answer.text
    assert "bob" not in answer.text
    assert outside.bob.id not in answer.text
    assert not any(value in answer.text for name, value in outside.his.items() if name.endswith("_id"))


@pytest.mark.parametrize("hidden", ["credentials", "sessions", "links"])
def test_secrets_do_not_hang_on_an_account(outside: Outside, hidden: str) -> None:
    assert is_denied(outside.ask("GET", f"users?select=id,{hidden}(*)", outside.as_ann()))


@pytest.mark.parametrize("function", sorted(SERVERS_FUNCTIONS))
def test_a_person_calls_nothing_of_the_servers(outside: Outside, function: str) -> None:
    assert is_denied(outside.ask("POST", f"rpc/{function}", outside.as_ann(), outside.arguments(function)))


@pytest.mark.parametrize("function", sorted(PEOPLES_FUNCTIONS))
def test_a_persons_functions_tell_of_their_own(outside: Outside, function: str) -> None:
    def call(user_id: str) -> Any:
        answer = outside.ask("POST", f"rpc/{function}", outside.as_ann(), {"p_user_id": user_id})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert call(outside.bob.id) in (0, {"total": 0, "cards": []})
    mine = call(outside.ann.id)
    assert mine
    assert outside.bob.id not in json.dumps(mine)


def test_the_list_takes_no_foreign_video_and_no_order_of_ones_own(outside: Outside) -> None:
    arguments: dict[str, object] = {"p_user_id": outside.ann.id, "p_video_id": outside.his["video_id"]}
    answer = outside.ask("POST", "rpc/list_cards", outside.as_ann(), arguments)
    assert answer.json() == {"total": 0, "cards": []}
    arguments = {"p_user_id": outside.ann.id, "p_sort": "v.seq; delete from public.videos"}
    answer = outside.ask("POST", "rpc/list_cards", outside.as_ann(), arguments)
    assert (answer.status_code, answer.json()["code"]) == (400, "22023")
    arguments = {"p_user_id": outside.ann.id, "p_words": ["'); drop table public.videos; --"], "p_states": ["' or 1"]}
    answer = outside.ask("POST", "rpc/list_cards", outside.as_ann(), arguments)
    assert answer.json() == {"total": 0, "cards": []}


def test_a_place_in_line_is_a_number_only(outside: Outside) -> None:
    cards = outside.ask("POST", "rpc/list_cards", outside.as_ann(), {"p_user_id": outside.ann.id}).json()["cards"]
    places = [card["position"] for card in cards if card["job"]["status"] == "queued"]
    assert places == [2], "Bob's job is before it"


@pytest.mark.parametrize("schema", ["private", "auth", "pg_catalog", "information_schema"])
def test_other_schemas_are_not_served(outside: Outside, schema: str) -> None:
    for path in ("installation", "rpc/lock_accounts", "rpc/give_back", "pg_class"):
        for name in ("Accept-Profile", "Content-Profile"):
            for method in ("GET", "POST"):
                answer = outside.ask(method, path, {**outside.as_ann(), name: schema}, {} if method == "POST" else None)
                assert answer.status_code in (401, 403, 404, 406), answer.text
