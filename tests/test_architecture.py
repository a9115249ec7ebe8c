"""The house: who may import whom, how big things may grow, and what every public thing says about itself."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gateway"
FILES = sorted(PACKAGE.rglob("*.py"))

# part → (parts of ours it may import, packages from outside it may touch)
EVERYTHING = {"*"}
RULES: dict[str, tuple[set[str], set[str]]] = {
    "reasons": (set(), set()),
    "errors": ({"reasons"}, set()),
    "core": ({"errors", "reasons"}, {"multidict", "ada_url", "cryptography", "jwt"}),
    "settings": ({"errors", "core", "upstream", "listeners"}, {"pydantic", "ruamel"}),
    "store": ({"errors", "core"}, {"redis", "cryptography", "msgpack", "sqlalchemy"}),
    "identity": (
        {"errors", "core", "store"},
        {"aiohttp", "argon2", "bcrypt", "passlib", "pydantic", "ruamel", "sansldap", "sqlalchemy", "yarl"},
    ),
    "upstream": ({"errors", "core"}, {"httptools"}),
    "verdicts": ({"errors", "core", "store"}, set()),
    "gate": ({"errors", "core", "store", "verdicts"}, set()),
    "front": ({"errors", "core", "gate", "store", "pages", "telemetry", "upstream"}, {"httptools"}),
    "listeners": ({"errors", "core", "front", "telemetry", "upstream"}, {"cryptography"}),
    "workers": (set(), set()),
    "telemetry": ({"errors", "core"}, {"prometheus_client"}),
    "pages": ({"errors", "core"}, {"jinja2"}),
    "web": (
        {"errors", "core", "front", "gate", "store", "identity", "pages", "telemetry"},
        {"aiohttp", "aiohttp_session", "multidict", "yarl"},
    ),
    "handlers": (
        {"errors", "core", "front", "gate", "store", "identity", "pages", "telemetry", "web"},
        {"aiohttp", "aiohttp_session"},
    ),
    "app": (EVERYTHING, EVERYTHING),
    "backends": (EVERYTHING, EVERYTHING),
    "endpoints": (EVERYTHING, EVERYTHING),
    "throttles": (EVERYTHING, EVERYTHING),
    "key_store": (EVERYTHING, EVERYTHING),
    "tokens": (EVERYTHING, EVERYTHING),
    "denylists": (EVERYTHING, EVERYTHING),
    "token_endpoints": (EVERYTHING, EVERYTHING),
    "told": (EVERYTHING, EVERYTHING),
    "foreign_issuers": (EVERYTHING, EVERYTHING),
    "user_sources": (EVERYTHING, EVERYTHING),
    "sql_sources": (EVERYTHING, EVERYTHING),
    "reload": (EVERYTHING, EVERYTHING),
    "server": (EVERYTHING, EVERYTHING),
    "launch": (EVERYTHING, EVERYTHING),
    "engines": (EVERYTHING, EVERYTHING),
    "scripting": (EVERYTHING, EVERYTHING),
    "private_files": ({"errors"}, set()),
    "key_files": ({"errors", "core", "private_files"}, set()),
    "signing_key_files": ({"errors", "core", "private_files", "key_files"}, set()),
    "secret_files": ({"errors", "core", "private_files", "key_files", "signing_key_files"}, set()),
    "commands": (EVERYTHING, EVERYTHING),
    "cli": (EVERYTHING, EVERYTHING),
    "__main__": (EVERYTHING, EVERYTHING),
    "__init__": (set(), set()),
}
NOT_IMPORTED_BY_OTHERS = {
    "app",
    "backends",
    "endpoints",
    "throttles",
    "key_store",
    "tokens",
    "denylists",
    "token_endpoints",
    "told",
    "foreign_issuers",
    "user_sources",
    "sql_sources",
    "reload",
    "server",
    "cli",
    "commands",
    "launch",
    "engines",
    "scripting",
    "__main__",
}

# Over budget with a reason: "gateway/file.py" or "gateway/file.py::function" = reason. Unneeded entries fail.
ALLOWED_LONG: dict[str, str] = {}
MAX_FILE, MAX_FILE_EVER = 300, 420
MAX_FUNCTION, P95_FUNCTION, MEDIAN_FUNCTION = 60, 35, 7


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "gateway":
                yield from (f"gateway.{alias.name}" for alias in node.names if not alias.name.startswith("__"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines, without docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            first = node.body[0]
            is_doc = (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            )
            doc = (first.end_lineno or 0) - first.lineno + 1 if is_doc else 0
            yield node.name, node.end_lineno - node.lineno + 1 - doc


def catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(
        isinstance(node, ast.Name) and node.id in ("Exception", "BaseException") for node in ast.walk(handler.type)
    )


def violations(path: Path) -> list[str]:
    ours, outside = RULES[part_of(path)]
    found = []
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "gateway":
            part = rest.partition(".")[0]
            if part and part != part_of(path) and "*" not in ours and part not in ours:
                found.append(f"{path.relative_to(ROOT)} imports {name}")
            if part in NOT_IMPORTED_BY_OTHERS and part_of(path) not in NOT_IMPORTED_BY_OTHERS:
                found.append(f"{path.relative_to(ROOT)} imports {name}, which nothing imports")
        elif top not in sys.stdlib_module_names and top not in outside and "*" not in outside:
            found.append(f"{path.relative_to(ROOT)} touches {top}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_imports_only_what_its_part_may(path: Path) -> None:
    assert part_of(path) in RULES, f"{path}: a part without an import rule"
    assert violations(path) == []


def test_handlers_do_not_import_each_other() -> None:
    for path in (PACKAGE / "handlers").glob("*.py"):
        assert [name for name in imports(path) if name.startswith("gateway.handlers")] == [], path


@pytest.mark.parametrize(
    ("package", "start", "parts"), [("redis", "redis", {"store"}), ("sqlalchemy", "sql", {"store", "identity"})]
)
def test_a_driver_is_imported_by_the_files_of_its_store_alone(package: str, start: str, parts: set[str]) -> None:
    users = {path for path in FILES if any(name.partition(".")[0] == package for name in imports(path))}
    assert {path.parent.name for path in users} == parts
    assert all(start in path.name for path in users)


def test_only_upstream_opens_connections_to_backends() -> None:
    others = {"ldap_link.py"}  # to directories
    opening = {
        part_of(path)
        for path in FILES
        if "create_connection(" in path.read_text(encoding="utf-8") and path.name not in others
    }
    assert opening == {"upstream"}


def test_the_core_reads_no_clock_no_environment_and_never_awaits() -> None:
    for path in (PACKAGE / "core").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = set(imports(path))
        assert not names & {"time", "os", "random", "secrets", "asyncio", "datetime", "logging"}, path
        assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree)), path


def test_only_the_composition_root_and_the_commands_see_the_whole_settings() -> None:
    for path in FILES:
        if part_of(path) in {"settings", *NOT_IMPORTED_BY_OTHERS}:
            continue
        assert not any(name.startswith("gateway.settings") for name in imports(path)), path


def test_files_and_functions_stay_within_their_budget() -> None:
    over: dict[str, int] = {}
    lengths = []
    for path in FILES:
        name = str(path.relative_to(ROOT))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MAX_FILE_EVER, f"{name} has {lines} lines: split it"
        if lines > MAX_FILE:
            over[name] = lines
        for function, length in functions(path):
            lengths.append(length)
            if length > MAX_FUNCTION:
                over[f"{name}::{function}"] = length
    assert over.keys() == ALLOWED_LONG.keys(), f"over budget: {over}"
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert statistics.quantiles(lengths, n=20)[-1] <= P95_FUNCTION


def test_nothing_swallows_every_exception_but_the_one_place_that_answers_500() -> None:
    places = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.ExceptHandler)
                and catches_everything(node)
                and not isinstance(node.body[-1], ast.Raise)
            ):
                places.add(str(path.relative_to(PACKAGE)))
    assert places == {"front/door.py", "web/own_door.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_and_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), path
    missing = [
        node.name
        for scope in [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))]
        for node in scope.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith(("_", "connection_", "data_", "eof_", "pause_", "resume_", "on_", "format"))
        and not ast.get_docstring(node)
    ]
    assert missing == []


def test_the_rules_of_this_test_catch_what_they_forbid(tmp_path: Path) -> None:
    """A rule that cannot fail is none: a file that breaks them is found."""
    path = tmp_path / "x.py"
    path.write_text("import redis\nfrom gateway.store import engine\nfrom gateway import cli\n")
    assert {"redis", "gateway.store", "gateway.cli"} <= set(imports(path))
