"""The documentation says all there is, and nothing that is not there: examples run, links lead somewhere."""

from __future__ import annotations

import http.client
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
from ruamel.yaml import YAML

from gateway import app
from gateway.cli import cli
from gateway.core.headers import PRESETS
from gateway.errors import REASONS, SettingsError
from gateway.identity.users_file import UserEntry
from gateway.pages import STATIC
from gateway.settings import Settings, settings_from
from gateway.settings.words import all_settings
from tests.harness import MASTER, GatewayProcess, make_settings
from tests.redis_lab import make_ca, make_certificate
from tests.test_architecture import RULES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CHANGING = {"created", "last_seen", "idle_left", "absolute_left"}
IN_TURN = "127.0.0.1:8080"
IN_TURN_MANAGEMENT = "127.0.0.1:8081"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- Markdown, as far as it is needed
@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the line it begins in, its text."""

    language: str
    line: int
    text: str


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    fence, language, begin, lines = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})\s*(\S*)", line)
        if not fence and mark:
            fence, language, begin, lines = mark[1], mark[2], number, []
        elif fence and line.strip() == fence:
            found.append(Block(language, begin, "\n".join(lines)))
            fence = ""
        elif fence:
            lines.append(line)
    assert not fence, f"a block that begins in line {begin} does not end"
    return found


def without_blocks(text: str) -> str:
    """The prose; code in backticks is no link either."""
    prose = re.sub(r"^\s*(`{3,}|~{3,}).*?^\s*\1\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda match: match[0].replace("[", "(").replace("]", ")"), prose)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    found: dict[str, int] = {}
    result = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", without_blocks(text), flags=re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", without_blocks(text))


def commands(block: Block) -> list[str]:
    """What follows ``$ ``, lines that end with a backslash joined."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    return [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]


def all_blocks(*languages: str) -> list[Any]:
    return [
        pytest.param(path, block, id=f"{name_of(path)}:{block.line}")
        for path in PAGES
        for block in blocks(path.read_text(encoding="utf-8"))
        if block.language in languages
    ]


# -- links
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    dead = []
    for link in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            dead.append(link)
    assert dead == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(read("docs/README.md"))}
    pages = {path for path in (ROOT / "docs").rglob("*.md") if path != ROOT / "docs/README.md"}
    assert {name_of(path) for path in pages - reached} == set()


def test_the_decisions_are_numbered_without_a_gap_and_say_context_decision_and_consequences() -> None:
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in files] == list(range(len(files)))
    for path in files:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
        assert headings == ["Context", "Decision", "Consequences"], path


def test_the_readme_takes_no_longer_than_five_minutes() -> None:
    assert len(read("README.md").split()) < 1200  # 240 words a minute


def test_the_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    assert re.search(r"^## (\[Unreleased\]|Unreleased)", read("CHANGELOG.md"), flags=re.M)


# -- everything is documented
def row(name: str, page: str) -> str | None:
    """The table row that begins with this name."""
    found = re.findall(rf"^\| `{re.escape(name)}` \|.*$", page, flags=re.M)
    assert len(found) < 2, f"{name} stands in two rows"
    return found[0] if found else None


def setting(name: str) -> Any:
    """The field of the model that a dotted name means."""
    model: Any = Settings
    parts = name.replace("[]", "").split(".")
    for part in parts[:-1]:
        if part != "NAME":
            part, _, kind = part.partition("[")
            model = _inner(model.model_fields[part].annotation, kind.removesuffix("]"))
    return model.model_fields[parts[-1]]


def _inner(annotation: Any, kind: str = "") -> Any:
    """The settings behind a section, or behind the rows of a list; ``kind``: those with this ``source``."""
    if hasattr(annotation, "model_fields"):
        is_wanted = not kind or annotation.model_fields["source"].annotation.__args__ == (kind,)
        return annotation if is_wanted else None
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _inner(part, kind))), None)


def shown_default(name: str) -> str:
    """A default as the tables write it."""
    if setting(name).is_required():
        return "needed"
    default = setting(name).get_default()
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    if default == {}:
        return "`{}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def variable(name: str) -> str:
    """The environment variable of a setting; parts of lists have none."""
    return "–" if "[" in name else f"`GATEWAY__{name.replace('.', '__').upper()}`"


@pytest.mark.parametrize("name", list(all_settings()))
def test_every_setting_stands_in_the_reference_with_its_default_its_purpose_and_its_variable(name: str) -> None:
    wanted = f"| `{name}` | {shown_default(name)} | {setting(name).description} | {variable(name)} |"
    assert row(name, read("docs/configuration.md")) == wanted


def test_the_reference_names_no_setting_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `([a-z_.A-Z\[\]]+)` \|.*\|.*\|.*\|$", read("docs/configuration.md"), flags=re.M))
    assert named - set(all_settings()) == set()


@pytest.mark.parametrize("code", list(REASONS))
def test_every_reason_code_stands_in_the_reference_with_its_status_and_words(code: str) -> None:
    found = row(code, read("docs/http-api.md"))
    assert found is not None, f"add: | `{code}` | {REASONS[code].status} | {REASONS[code].en} | when |"
    assert found.startswith(f"| `{code}` | {REASONS[code].status} | {REASONS[code].en} |")


def test_the_reference_names_no_reason_code_that_is_not_there() -> None:
    table = read("docs/http-api.md").partition("## Reason codes")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, flags=re.M)) - {"reason"} == set(REASONS)


def test_every_endpoint_stands_in_the_reference() -> None:
    settings = make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", login={"aliases": []})
    own = {re.sub(r"/static/.*", "/static/NAME", path) for path in app.endpoints(settings)}
    management = {
        route.resource.canonical for route in app.build(settings).management.router.routes() if route.resource
    }
    page = read("docs/http-api.md")
    assert {path for path in own | management if f"GET {path}`" not in page} == set()


def test_every_identity_header_stands_in_the_reference() -> None:
    page = read("docs/http-api.md")
    missing = {name for preset in PRESETS.values() for name in preset.values() if f"`{name}`" not in page}
    assert missing == set()


def test_every_field_of_the_users_file_stands_in_the_reference() -> None:
    page = read("docs/configuration.md")
    assert {name for name in UserEntry.model_fields if row(name, page) is None} == set()


def every_command(command: click.Command = cli, name: str = "gateway") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for sub, one in command.commands.items():
            yield from every_command(one, f"{name} {sub}")
    else:
        yield name, command


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in every_command()])
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    table = read("docs/quickstart.md").partition("## All commands")[2].partition("\n## ")[0]
    assert row(name, table) is not None
    assert set(re.findall(r"^\| `(gateway [^`]+)` \|", table, flags=re.M)) == {one for one, _ in every_command()}
    options = {option for one in command.params if isinstance(one, click.Option) for option in one.opts}
    assert {option for option in options if not re.search(rf"{option}(?![\w-])", pages)} == set()


def test_the_architecture_names_every_part_and_every_import_rule() -> None:
    page = read("docs/architecture.md")
    house, rules = page.partition("## The house")[2], page.partition("## Who may import whom")[2]
    parts = {name for name in RULES if not name.startswith("__")}
    assert {name for name in parts if not re.search(rf"^  {name}(\.py|/) ", house, flags=re.M)} == set()
    assert {name for name in parts if f"`{name}`" not in rules} == set()


# -- examples are right
def with_files(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A source of users with the files it names."""
    if source.get("source", "file") == "file":
        return {**source, "path": "users.yaml"}
    named = {name: name for name in source if name == "path" or name.endswith("_file")}
    for name in named:
        (folder / name).write_text("sqlite:///users.db")  # as good a secret as any, and an address for who needs one
    return {**source, **named}


def complete(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A fragment with what every configuration needs, and the files it names."""
    (folder / "users.yaml").write_text("users: []\n")
    data = {"keys": {}, "users": [{"path": "users.yaml"}], "routes": [{"path": "/"}], **data}
    used = {route["upstream"] for route in data["routes"] if "upstream" in route}
    data.setdefault("upstreams", {name: {"url": "http://127.0.0.1:9000"} for name in used or {"app"}})
    data["users"] = [with_files(source, folder) for source in data["users"]]
    data["keys"] = {"master": MASTER}
    for route in data["routes"]:
        if route.get("backend_auth", {}).pop("password_file", None):
            route["backend_auth"]["password"] = "secret"
    if (data.get("redis") or {}).pop("password_file", None):
        data["redis"]["password"] = "secret"
    for upstream in data["upstreams"].values():
        for name in ("ca_file", "cert_file", "key_file"):
            upstream.get("tls", {}).pop(name, None)
    tls = (data.get("server") or {}).get("tls", {})
    for number, pair in enumerate([tls, *tls.get("certificates", ())] if tls else ()):
        made = make_certificate(folder, f"c{number}", make_ca(folder, "ca"), host="localhost")
        pair.update(cert_file=str(made.cert), key_file=str(made.key))
    for name in {"ca_file", "cert_file", "key_file"} & (data.get("redis") or {}).keys():
        (folder / name).touch()
        data["redis"][name] = name
    if file := (data.get("site") or {}).get("logo"):
        (folder / file).write_bytes(STATIC["mark.svg"].body)
    if file := (data.get("passwords") or {}).get("common_file"):
        (folder / file).touch()
    if file := (data.get("tokens") or {}).get("keys_file"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for client in (data.get("tokens") or {}).get("clients", ()):
        client.update(secret="16-characters-or-more")
        client.pop("secret_file", None)
    return data


@pytest.mark.parametrize(("path", "block"), all_blocks("yaml"))
def test_yaml_examples_are_configurations_that_load(path: Path, block: Block, tmp_path: Path) -> None:
    data = YAML(typ="safe", pure=True).load(block.text)
    if data is None or not data.keys() & Settings.model_fields.keys():
        return  # a comment for editors, or another program's file
    if any("username" in source for source in data.get("users", ())):
        return  # a users file
    try:
        settings_from(complete(data, tmp_path), {}, f"{name_of(path)}:{block.line}", tmp_path)
    except SettingsError as error:
        pytest.fail(str(error))


def test_json_examples_are_json() -> None:
    for example in all_blocks("json"):
        json.loads(example.values[1].text)


def parse(command: click.Command, words: list[str]) -> None:
    """As the command line would, without running anything.

    :raises click.UsageError: no such command or option, or an argument that is missing.
    """
    if isinstance(command, click.Group):
        assert words, f"which {command.name}?"
        if words[0].startswith("-"):
            return
        assert words[0] in command.commands, f"there is no command {words[0]}"
        parse(command.commands[words[0]], words[1:])
    elif not {"-h", "--help"} & set(words):
        command.make_context(command.name, list(words))


@pytest.mark.parametrize(("path", "block"), all_blocks("console", "sh", "bash"))
def test_commands_in_the_docs_exist_with_their_options(path: Path, block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), flags=re.M))
    for command in commands(block):
        words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)]
        if not words:
            continue
        if words[0] == "make":
            assert words[1] in targets, command
        elif Path(words[0]).name == "gateway":
            parse(cli, words[1:])
        elif words[:3] == ["python", "-m", "gateway"]:
            parse(cli, words[3:])


def test_a_command_that_does_not_exist_is_noticed() -> None:
    """The checks above can fail."""
    with pytest.raises(AssertionError):
        parse(cli, ["serv"])
    with pytest.raises(click.UsageError):
        parse(cli, ["serve", "--upstraem", "http://x"])


# -- the examples of the HTTP interface, run
@dataclass(slots=True)
class Curl:
    """What a curl command asks for: as much of curl as the docs use."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    send_jar: str = ""
    keep_jar: str = ""

    @classmethod
    def read(cls, command: str) -> Curl:
        words = shlex.split(command)
        assert words.pop(0) == "curl", command
        self = cls()
        while words:
            word = words.pop(0)
            if word == "-H":
                name, _, value = words.pop(0).partition(": ")
                self.headers[name] = value
            elif word in ("-X", "-d", "-b", "-c"):
                value = words.pop(0)
                self.method = value if word == "-X" else self.method
                self.body = value.encode() if word == "-d" else self.body
                self.send_jar = value if word == "-b" else self.send_jar
                self.keep_jar = value if word == "-c" else self.keep_jar
            elif not word.startswith("-"):
                self.url = word
            else:
                assert word == "-i", f"{command}: teach this test {word}"
        self.method = self.method or ("GET" if self.body is None else "POST")
        return self


@dataclass(slots=True)
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: str


def run(curl: Curl, jars: dict[str, dict[str, str]]) -> Answer:
    address = urlsplit(curl.url)
    headers = {"User-Agent": "curl/8", "Accept": "*/*", **curl.headers}
    if curl.send_jar and jars.get(curl.send_jar):
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jars[curl.send_jar].items())
    if curl.body is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    target = address.path + (f"?{address.query}" if address.query else "")
    connection.request(curl.method, target, curl.body, headers)
    response = connection.getresponse()
    answer = Answer(f"HTTP/1.1 {response.status} {response.reason}", response.getheaders(), response.read().decode())
    connection.close()
    if curl.keep_jar:
        _keep(answer, jars.setdefault(curl.keep_jar, {}))
    return answer


def _keep(answer: Answer, jar: dict[str, str]) -> None:
    for name, value in answer.headers:
        if name == "Set-Cookie":
            key, _, rest = value.partition("=")
            jar[key] = rest.partition(";")[0]
            if "Max-Age=0" in value:
                del jar[key]


def fits(expected: str, actual: str) -> bool:
    """``…`` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), actual, flags=re.S) is not None


def differences(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Of two JSON values: the same keys, the same values but for what changes; a list may be shortened."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        if expected.keys() != actual.keys():
            return [f"{where}: {sorted(expected)} is documented, {sorted(actual)} came"]
        return [text for key in expected for text in differences(expected[key], actual[key], f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list):
        if not expected and actual:
            return [f"{where}: [] is documented, {actual} came"]
        return [f"{where}: {one} is missing" for one in expected if all(differences(one, each) for each in actual)]
    same_kind = type(expected) is type(actual)
    if same_kind and isinstance(expected, str) and fits(expected, actual):
        return []
    if same_kind and (expected == actual or where.rpartition(".")[2] in CHANGING):
        return []
    return [f"{where}: {expected!r} is documented, {actual!r} came"]


def compare(documented: str, answer: Answer) -> list[str]:
    head, _, body = documented.partition("\n\n")
    status, *headers = head.splitlines()
    wrong = [] if status == answer.status else [f"{status} is documented, {answer.status} came"]
    for header in headers:
        name, _, value = header.partition(": ")
        if not any(key == name and fits(value, got) for key, got in answer.headers):
            wrong.append(f"{header} is documented, {[pair for pair in answer.headers if pair[0] == name]} came")
    if body.startswith("{") or not body:
        return wrong + (differences(json.loads(body), json.loads(answer.body)) if body else [])
    got_lines = answer.body.splitlines()
    return wrong + [
        f"{line} is documented" for line in body.splitlines() if not any(fits(line, got) for got in got_lines)
    ]


@pytest.fixture(scope="module")
def demo() -> Iterator[GatewayProcess]:
    with GatewayProcess("demo", "--port", "0") as process:
        yield process


def test_the_examples_of_the_http_interface_are_what_the_demo_answers(demo: GatewayProcess) -> None:
    page = read("docs/http-api.md").replace(IN_TURN, urlsplit(demo.url).netloc)
    page = page.replace(IN_TURN_MANAGEMENT, urlsplit(demo.management).netloc)
    jars: dict[str, dict[str, str]] = {}
    answer: Answer | None = None
    wrong, compared = [], 0
    for block in blocks(page):
        if block.language == "console":
            for command in commands(block):
                answer = run(Curl.read(command), jars)
        elif block.language == "http":
            assert answer is not None, f"line {block.line}: the answer to what?"
            wrong += [f"docs/http-api.md:{block.line}: {text}" for text in compare(block.text, answer)]
            answer, compared = None, compared + 1
    assert wrong == []
    assert compared > 10


def test_the_endpoints_of_the_reference_are_there(demo: GatewayProcess) -> None:
    """None of them is 404; what needs a session refuses, what changes something answers a GET with 405 or a page."""
    for method, path in re.findall(r"^\| `([A-Z]+) (/auth/\w+)` \|", read("docs/http-api.md"), flags=re.M):
        assert " 404 " not in run(Curl(method, demo.url + path), {}).status, path


def test_a_wrong_example_would_be_noticed() -> None:
    """The comparison above can fail."""
    answer = Answer("HTTP/1.1 200 OK", [("Vary", "Cookie")], '{"ret": 0, "user": {"id": "1", "groups": ["a"]}}')
    assert compare('HTTP/1.1 200 OK\nVary: Cook…\n\n{"ret": 0, "user": {"id": "…", "groups": ["a"]}}', answer) == []
    for documented in (
        "HTTP/1.1 302 Found",
        "HTTP/1.1 200 OK\nVary: Accept",
        'HTTP/1.1 200 OK\n\n{"ret": 0}',
        'HTTP/1.1 200 OK\n\n{"ret": 1, "user": {"id": "1", "groups": ["a"]}}',
        'HTTP/1.1 200 OK\n\n{"ret": 0, "user": {"id": 1, "groups": ["a"]}}',
        'HTTP/1.1 200 OK\n\n{"ret": 0, "user": {"id": "1", "groups": ["b"]}}',
        'HTTP/1.1 200 OK\n\n{"ret": 0, "user": {"id": "1", "groups": []}}',
    ):
        assert compare(documented, answer) != [], documented
    page = Answer("HTTP/1.1 200 OK", [], "a 1\nb 2\n")
    assert compare("HTTP/1.1 200 OK\n\nb …\n…", page) == []
    assert compare("HTTP/1.1 200 OK\n\nb 1\n…", page) != []


def printed(text: str) -> list[str]:
    """Lines without what differs each time: ports and the password."""
    lines = [re.sub(r"(admin / )\S+", r"\1…", re.sub(r":\d+", ":…", line.strip())) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("{")]


def text_block(page: str) -> str:
    return next(block.text for block in blocks(read(page)) if block.language == "text")


def test_the_readme_shows_what_make_demo_prints(demo: GatewayProcess) -> None:
    assert printed(text_block("README.md")) == printed(demo.output)


def test_the_quickstart_shows_what_serve_upstream_prints(demo: GatewayProcess, short_folder: Path) -> None:
    command = ("serve", "--upstream", demo.url, "--port", "0", "--state", str(short_folder / "state"))
    with GatewayProcess(*command) as process:
        assert printed(text_block("docs/quickstart.md")) == printed(process.output)
