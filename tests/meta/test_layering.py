"""Imports run inwards: which file may see which, as data. (spec: architecture, "Where things live")

Every import counts, also one inside a function or under TYPE_CHECKING: what may not be known may not be named.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "stages", "state", "config", "sandbox")


@dataclass(frozen=True)
class Rule:
    """Files under `place` may import these modules of ours (with what is below them) and these libraries."""

    place: str
    ours: tuple[str, ...]
    libraries: tuple[str, ...] = ()


ANY = ("pipeline", "stages", "state", "config", "sandbox")
INNER = (  # the pipeline proper: all of `pipeline` but the outer ring
    "pipeline.core",
    "pipeline.control",
    "pipeline.control_pipe",
    "pipeline.errors",
    "pipeline.journal_port",
    "pipeline.log",
    "pipeline.model",
    "pipeline.ports",
    "pipeline.progress",
    "pipeline.records",
    "pipeline.redaction",
)
PORTS = (  # what a stage may know: contracts and values, and the pure decisions
    "pipeline.core",
    "pipeline.errors",
    "pipeline.journal_port",
    "pipeline.model",
    "pipeline.ports",
    "pipeline.progress",
    "pipeline.records",
    "pipeline.redaction",
)

# The first rule whose place fits a file decides.
RULES = (
    Rule("pipeline/core/", ("pipeline.core", "pipeline.errors", "pipeline.model", "pipeline.records")),
    Rule("pipeline/cli/", ANY, ("anyio", "pydantic", "rich", "typer")),
    Rule(
        "pipeline/app/",
        (*INNER, "pipeline.app", "pipeline.schedule", "stages", "state", "config"),
        ("anyio", "jinja2", "rich"),
    ),
    Rule("pipeline/schedule/", ("pipeline.schedule",)),
    Rule("pipeline/__main__.py", ("pipeline.cli",)),
    Rule("pipeline/__init__.py", ()),
    Rule("pipeline/", INNER, ("anyio", "structlog")),
    Rule(
        "stages/directory/kerberos.py",
        (*PORTS, "stages.directory.bounded", "stages.directory.faults", "stages.directory.kerberos_faults"),
        ("cryptography", "gssapi"),
    ),
    Rule("stages/directory/", (*PORTS, "stages.directory"), ("anyio", "dns", "ldap3")),
    # pydantic_core and typing_extensions come with pydantic: its reader of JSON, and the TypedDict that it asks for
    Rule(
        "stages/dropbox/",
        (*PORTS, "stages.dropbox"),
        ("aiohttp", "anyio", "pydantic", "pydantic_core", "tenacity", "typing_extensions"),
    ),
    Rule("stages/groups/", (*PORTS, "stages.groups"), ("anyio",)),
    Rule("stages/mail/", (*PORTS, "stages.mail"), ("aiosmtplib", "anyio", "jinja2")),
    Rule("stages/people/", (*PORTS, "stages.people"), ("anyio",)),
    Rule("stages/service/", (*PORTS, "stages.service"), ("aiohttp", "anyio", "prometheus_client")),
    Rule("stages/", PORTS, ("anyio",)),
    Rule(
        "state/",
        (
            "state",
            "pipeline.core",
            "pipeline.errors",
            "pipeline.model",
            "pipeline.ports",
            "pipeline.progress",
            "pipeline.records",
        ),
        ("aiosqlite", "anyio", "filelock"),
    ),
    # annotated_types comes with pydantic: the constraints of a pydantic field are values of its types
    Rule(
        "config/",
        ("config", "pipeline.errors", "pipeline.redaction"),
        ("annotated_types", "keyring", "pydantic", "pydantic_settings", "tomlkit"),
    ),
    Rule("sandbox/team/", ("sandbox.team",), ("aiohttp", "anyio")),
    # The demo drives the program, and where there is no Samba runs it in its own process.
    Rule("sandbox/story", ANY, ("aiohttp", "anyio", "rich")),
    Rule("sandbox/scene", ANY, ("aiohttp", "anyio", "rich")),
    Rule(
        "sandbox/",
        ("sandbox",),
        ("aiosmtpd", "anyio", "filelock", "ldap3", "rich", "samba", "trustme"),
    ),
)

# Where a library, or a part of the standard library, may be imported at all, whatever the rule of the place says.
ONLY_IN = {
    "aiohttp": (
        "stages/dropbox/transport.py",
        "stages/service/",
        "sandbox/team/",
        "sandbox/story",
        "sandbox/scene",
    ),
    "aiosmtplib": ("stages/mail/",),
    "aiosqlite": ("state/database.py",),
    "dns": ("stages/directory/discovery.py",),
    "jinja2": ("stages/mail/letter.py", "pipeline/app/renderings.py", "pipeline/app/console_html.py"),
    "keyring": ("config/secrets.py",),
    "ldap3": (
        "stages/directory/browsing.py",
        "stages/directory/faults.py",
        "stages/directory/line.py",
        "stages/directory/reader.py",
        "sandbox/samba_admin.py",
    ),
    "prometheus_client": ("stages/service/",),
    "samba": ("sandbox/samba_offline.py",),
    "sqlite3": ("state/database.py", "state/database_file.py"),
    "structlog": ("pipeline/log.py",),
    "tenacity": ("stages/dropbox/retrying.py",),
    "tomlkit": ("config/document.py",),
    "typer": ("pipeline/cli/",),
}

IMPURE = frozenset(
    [
        "asyncio",
        "concurrent",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    ]
)


@dataclass(frozen=True)
class Import:
    """One import: `name` is the module, the longest that exists on disk when it is ours."""

    file: str
    line: int
    name: str
    is_lazy: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def _files() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def _module(name: str) -> str:
    """`from pipeline import control` means pipeline.control; `from pipeline import __version__` means pipeline."""
    parts = name.split(".")
    while len(parts) > 1:
        place = ROOT.joinpath(*parts)
        if place.with_suffix(".py").exists() or (place / "__init__.py").exists():
            break
        parts.pop()
    return ".".join(parts)


def _imports(file: Path) -> Iterator[Import]:
    def visit(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        names: list[str] = []
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{line}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            ours = name.partition(".")[0] in PACKAGES
            yield Import(file.relative_to(ROOT).as_posix(), line, _module(name) if ours else name, lazy)
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy=inside)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), lazy=False)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    found = [one for file in _files() for one in _imports(file)]
    assert len(found) > 500, "the walk finds next to nothing: is the layout another one?"
    return found


def _rule(file: str) -> Rule:
    return next(rule for rule in RULES if file.startswith(rule.place))


def _is_below(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_every_import_of_ours_is_allowed_where_it_stands(imports: list[Import]) -> None:
    wrong = [one for one in imports if one.top in PACKAGES and not _is_below(one.name, _rule(one.file).ours)]
    # any module may ask for the version
    wrong = [one for one in wrong if one.name != "pipeline"]
    assert not wrong, "\n".join(map(str, wrong))


def test_every_library_is_allowed_where_it_stands(imports: list[Import]) -> None:
    wrong = [
        one
        for one in imports
        if one.top not in PACKAGES
        and one.top not in sys.stdlib_module_names
        and one.top not in _rule(one.file).libraries
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_a_vendor_library_has_one_home(imports: list[Import]) -> None:
    wrong = [one for one in imports if one.top in ONLY_IN and not one.file.startswith(ONLY_IN[one.top])]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_stage_sees_another(imports: list[Import]) -> None:
    """Follows from the rules; said once more for itself, because it is the one that a change in haste breaks."""
    for one in imports:
        if one.file.startswith("stages/") and one.top == "stages":
            assert one.file.split("/")[1] == one.name.split(".")[1], str(one)


def test_the_sandbox_is_imported_only_when_asked_for(imports: list[Import]) -> None:
    """It is an extra of the package: a connector without it must start."""
    assert not [
        str(one)
        for one in imports
        if one.top == "sandbox" and not one.file.startswith("sandbox/") and not one.is_lazy
    ]


def test_core_is_pure() -> None:
    """No async, no clock, no chance, no log, no I/O: whatever it needs comes as an argument."""
    for file in sorted((ROOT / "pipeline" / "core").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            place = f"{file.name}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), (
                place
            )
            if isinstance(node, ast.Import):
                assert not IMPURE & {alias.name.partition(".")[0] for alias in node.names}, place
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] not in IMPURE, place
            if isinstance(node, ast.Call):
                called = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                assert called not in {"now", "utcnow", "today", "print", "open", "input"}, (
                    f"{place}: {called}()"
                )


def test_modules_import_each_other_in_one_direction_only(imports: list[Import]) -> None:
    """No circle anywhere, not even of names in annotations or of what a function imports late."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        if one.top in PACKAGES:
            source = one.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            graph.setdefault(source, set()).add(one.name)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for following in sorted(graph.get(module, ())):
            if following != module:
                visit(following, (*path, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_the_rules_themselves_catch_what_they_are_for() -> None:
    assert not _is_below("stages.dropbox.team", _rule("stages/directory/poller.py").ours)
    assert not _is_below("state.journal", _rule("stages/people/planner.py").ours)
    assert not _is_below("pipeline.app.engine", _rule("pipeline/log.py").ours)
    assert not _is_below("stages.mail.smtp", _rule("sandbox/team/server.py").ours)
    assert not _is_below("pipeline.cli", _rule("pipeline/app/engine.py").ours)
    assert "ldap3" not in _rule("pipeline/ports.py").libraries
    assert "aiohttp" not in _rule("pipeline/app/engine.py").libraries
