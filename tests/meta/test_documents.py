"""What the documents say is what the program does: commands, keys, codes, states, files, links.

Run as a program (`./run shell python tests/meta/test_documents.py`) this writes the parts that are made: the list of
files, the diagram of states, the table of codes.
"""

import ast
import contextlib
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from config.reference import keys
from pipeline.cli import build
from pipeline.core.exits import ExitCode, shell_status
from pipeline.core.transitions import render_mermaid

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "stages", "state", "config", "sandbox")

# The commands of the interface. What is not there yet stands in the README's section about it, and may be named.
INTERFACE = [
    "configure",
    "authorize",
    "check",
    "plan",
    "apply",
    "run",
    "watch",
    "status",
    "explain",
    "journal",
    "replay",
    "retry",
    "approve",
    "undo",
    "schedule",
    "demo",
    "sandbox",
]

SECTIONS = sorted({key.section for key in keys() if key.section})
KEYS = {(key.section, key.name) for key in keys()}


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _fences(text: str, *languages: str) -> Iterator[str]:
    for language, content in re.findall(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", text, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield content


def _inline(text: str) -> list[str]:
    without = re.sub(r"^[ ]*```.*?^[ ]*```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", without)]


# --- what is made ---------------------------------------------------------------------------------------------


def table_of_codes() -> str:
    rows = ["| code | in a shell | reason | what to do |", "|---|---|---|---|"]
    rows += [
        f"| {int(code)} | {shell_status(code)} | {code.reason} | {code.remedy or 'nothing'} |"
        for code in ExitCode
    ]
    return "\n".join(rows) + "\n"


def diagram_of_states() -> str:
    return f"```mermaid\n{render_mermaid()}```\n"


def list_of_files() -> str:
    """Every module of the product with the first sentence of its docstring, folder by folder."""
    lines: list[str] = []
    folder = ""
    for file in sorted((one for package in PACKAGES for one in (ROOT / package).rglob("*.py")), key=_place):
        if file.name == "__init__.py":
            continue
        if file.parent != (ROOT / folder):
            folder = _name(file.parent)
            lines += ["", f"**`{folder}/`**", ""]
        lines.append(f"* `{file.name}`: {_sentence(file)}")
    return "\n".join(lines).strip() + "\n"


def _place(file: Path) -> tuple[int, str, str]:
    return PACKAGES.index(file.relative_to(ROOT).parts[0]), _name(file.parent), file.name


def _sentence(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    sentence = re.split(r"(?<=[.?!])\s(?=[A-Z(])", first)[0]
    return re.sub(r"\s*\(behaviour[^)]*\)", "", sentence).rstrip(".:")


MADE = {
    "docs/exit-codes.md": {"codes": table_of_codes},
    "docs/architecture.md": {"states": diagram_of_states, "files": list_of_files},
}


def _between(text: str, mark: str) -> str:
    found = re.search(rf"<!-- {mark}: begin -->\n(.*?)<!-- {mark}: end -->", text, re.DOTALL)
    assert found, f"the marks of {mark} are missing"
    return found[1]


def write() -> None:
    for name, parts in MADE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for mark, make in parts.items():
            begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
            text = text.replace(begin + _between(text, mark) + end, begin + make() + end)
        (ROOT / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("name", "mark"), [(name, mark) for name, parts in MADE.items() for mark in parts])
def test_what_is_made_is_up_to_date(name: str, mark: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert _between(text, mark) == MADE[name][mark](), (
        "write it: ./run shell python tests/meta/test_documents.py"
    )


@pytest.mark.parametrize(
    "file",
    [
        _name(one)
        for package in PACKAGES
        for one in sorted((ROOT / package).rglob("*.py"))
        if one.name != "__init__.py"
    ],
)
def test_every_module_says_in_its_first_line_what_it_is(file: str) -> None:
    assert len(_sentence(ROOT / file)) > 10


# --- commands -------------------------------------------------------------------------------------------------


def _commands() -> dict[str, Any]:
    """All commands by name, those of groups with a blank between."""
    found: dict[str, Any] = {}

    def visit(command: Any, name: str) -> None:
        for child, one in getattr(command, "commands", {}).items():
            found[f"{name} {child}".strip()] = one
            visit(one, f"{name} {child}".strip())

    visit(typer.main.get_command(build()), "")
    return found


COMMANDS = _commands()
MISSING = [name for name in INTERFACE if name not in COMMANDS]


def _not_yet() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("## What is not there yet")[2].partition("\n## ")[0]


def _calls(text: str) -> Iterator[list[str]]:
    """The arguments of every call of ad-connector in code, in the text or in a block."""
    lines = [line for block in _fences(text, "sh", "bat", "ini", "") for line in block.splitlines()]
    for line in [*lines, *_inline(text)]:
        found = re.search(r"(?:^|\s|/)ad-connector\s+(\S.*)$", line.strip())
        # A command, not a path or a line of a log: it begins the line, or follows `run`, a prompt or another word of a unit file.
        if not found or re.match(r"^(?:git|cd|\d{4}-|User=|Description=)", line.strip()):
            continue
        arguments = re.split(r"\s(?:[|>&;]|2>)", found[1])[0].rstrip("`.,; …")
        try:
            words = shlex.split(arguments, comments=True)
        except ValueError:
            continue
        if words and words != ["…"]:
            yield words


ALL_CALLS = [
    pytest.param(words, id=f"{_name(path)}: {' '.join(words)}")
    for path in documents()
    for words in _calls(path.read_text(encoding="utf-8"))
]


def test_there_are_calls_to_look_at() -> None:
    assert len(ALL_CALLS) > 40


@pytest.mark.parametrize("words", ALL_CALLS)
def test_every_command_that_the_documents_show_is_understood(words: list[str]) -> None:
    """Parsed by the program itself, options and arguments; nothing is carried out."""
    group = typer.main.get_command(build())
    values = {"--config"}
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in values else 1
    before, name, rest = words[:position], "".join(words[position : position + 1]), words[position + 1 :]
    try:
        context = group.make_context("ad-connector", [*before, name] if name else list(before))
    except typer.Exit:
        return  # --version, --help
    if name in MISSING:
        assert name in _not_yet(), f"{name} is not there, and the README does not say so"
        return
    assert name in COMMANDS, f"there is no command {name!r}"
    command = COMMANDS[name]
    while getattr(command, "commands", None) and rest:
        assert rest[0] in command.commands, f"there is no command {name} {rest[0]}"
        name, command, rest = f"{name} {rest[0]}", command.commands[rest[0]], rest[1:]
    if not rest:
        return  # named, not shown: arguments may be missing
    with contextlib.suppress(typer.Exit):  # --help
        command.make_context(name, _filled(rest), parent=context)


def _filled(words: list[str]) -> list[str]:
    """Placeholders that stand for a number."""
    return ["7" if word in {"PASS", "SEQ"} else word for word in words]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help or command.short_help
    assert str(command.epilog).startswith(f"Example: ad-connector {name}")
    if not getattr(command, "commands", None):
        words = shlex.split(str(command.epilog).removeprefix(f"Example: ad-connector {name}").split(" > ")[0])
        command.make_context(name, words)


def test_the_readme_names_exactly_what_is_not_there_yet() -> None:
    text = _not_yet()
    named = {name for name in INTERFACE if re.search(rf"`{name}`", text)}
    assert named == set(MISSING)


def test_the_readme_names_every_command_that_is_there() -> None:
    text = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition("## What is there")[2]
        .partition("\n## ")[0]
    )
    for name in COMMANDS:
        if " " not in name:
            assert f"`{name}`" in text, f"{name} is missing under What is there"


def test_the_program_itself_names_no_command_that_will_never_be() -> None:
    """Hints of errors and remedies of codes: a command of the interface, or none. Subcommands must exist already."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for name, second in re.findall(
                r"`ad-connector ([a-z]+)(?: ([a-z]+))?", file.read_text(encoding="utf-8")
            ):
                assert name in COMMANDS or name in MISSING, f"{_name(file)}: ad-connector {name}"
                children = getattr(COMMANDS.get(name), "commands", None)
                if children and second:
                    assert second in children, f"{_name(file)}: ad-connector {name} {second}"


# --- configuration --------------------------------------------------------------------------------------------


def test_every_key_that_the_documents_name_exists() -> None:
    for path in documents():
        for word in _inline(path.read_text(encoding="utf-8")):
            found = re.match(rf"({'|'.join(SECTIONS)})\.([a-z_]+)(?![\w./(])", word)
            if found and found[2] not in {"db", "py", "toml", "token"}:
                assert (found[1], found[2]) in KEYS, f"{_name(path)}: {word}"


def test_every_section_that_the_documents_name_exists() -> None:
    for path in documents():
        for section in re.findall(r"`\[([a-z_]+)\]`", path.read_text(encoding="utf-8")):
            assert section in SECTIONS, f"{_name(path)}: [{section}]"


def test_every_piece_of_configuration_has_only_keys_that_exist() -> None:
    pieces = 0
    for path in documents():
        for block in _fences(path.read_text(encoding="utf-8"), "toml"):
            indent = min(len(line) - len(line.lstrip()) for line in block.splitlines() if line.strip())
            content = tomllib.loads("\n".join(line[indent:] for line in block.splitlines()))
            pieces += 1
            for section, value in content.items():
                for name in value if isinstance(value, dict) else [section]:
                    key = (section, name) if isinstance(value, dict) else ("", name)
                    assert key in KEYS, f"{_name(path)}: {key}"
    assert pieces >= 3


def test_every_environment_variable_of_ours_exists() -> None:
    for path in documents():
        for found in re.findall(r"AD_CONNECTOR__([A-Z_]+)", path.read_text(encoding="utf-8")):
            section, _, name = found.lower().partition("__")
            if found in {"SECTION__KEY", "KEY"}:
                continue
            assert ((section, name) if name else ("", section)) in KEYS, f"{_name(path)}: {found}"


# --- codes ----------------------------------------------------------------------------------------------------


def test_every_code_of_a_table_is_one_of_ours() -> None:
    for path in documents():
        for code in re.findall(r"^\| (-\d+) \|", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert int(code) in set(ExitCode), f"{_name(path)}: {code}"


def test_the_guide_has_advice_for_every_code_that_needs_some() -> None:
    text = (ROOT / "docs" / "admin-guide.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2]
    advised = {int(code) for code in re.findall(r"^\| (-?\d+) \|", text, re.MULTILINE)}
    assert advised == set(ExitCode) - {ExitCode.OK, ExitCode.PYTHON}


# --- links, files and pictures ----------------------------------------------------------------------------------


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(
        r"^[ ]*```.*?^[ ]*```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        place, _, anchor = target.partition("#")
        file = (path.parent / place).resolve() if place else path
        assert file.exists(), f"{_name(path)}: {target}"
        assert not anchor or anchor in _anchors(file), f"{_name(path)}: {target}"


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_files_that_are_named_exist(path: Path) -> None:
    """Paths from the top of the checkout; a bare name is a file somewhere in it."""
    everywhere = {
        file.name for package in (*PACKAGES, "tests", "docs") for file in (ROOT / package).rglob("*.*")
    }
    for word in _inline(path.read_text(encoding="utf-8")):
        if re.fullmatch(r"(?:\w+/)+[\w.]*", word) and word.split("/")[0] in {
            *PACKAGES,
            "tests",
            "docs",
            "bench",
        }:
            assert (ROOT / word).exists(), f"{_name(path)}: {word}"
        elif re.fullmatch(r"\w+\.py", word):
            assert word in everywhere, f"{_name(path)}: {word}"


def test_the_pictures_name_every_stage() -> None:
    for name in ("README.md", "docs/architecture.md"):
        picture = "\n".join(_fences((ROOT / name).read_text(encoding="utf-8"), "mermaid"))
        for stage in ("poller", "journal", "planner", "applier", "notifier", "reconciler", "drift"):
            assert stage in picture, f"{name}: {stage}"


def test_decisions_are_numbered_without_gaps_and_say_what_they_cost() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(file.name[:4])}. "), file.name
        assert "**Decided.**" in text, file.name
        assert "**Why.**" in text, file.name


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write()
