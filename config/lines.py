"""On which line of a TOML text each key stands: `tomllib` reads values but forgets places."""

from __future__ import annotations

import tomllib

KeyPath = tuple[str, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line numbers, from 1, of every section header and key of a text that `tomllib` has accepted.

    Keys inside inline tables are not listed: look for the nearest parent (`line_of`).
    """
    text = text.replace("\r\n", "\n")
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    line, counted, position = 1, 0, 0
    while (position := _skip_blank(text, position)) < len(text):
        line += text.count("\n", counted, position)
        counted = position
        if text[position] == "[":
            start = position + (2 if text.startswith("[[", position) else 1)
            end = _find(text, start, "]")
            table = _parts(text[start:end])
            lines.setdefault(table, line)
            position = _end_of_line(text, end)
        else:
            end = _find(text, position, "=")
            found = table + _parts(text[position:end])
            for length in range(len(table) + 1, len(found) + 1):
                lines.setdefault(found[:length], line)
            position = _end_of_value(text, end + 1)
    return lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """The line of a key, else of the nearest parent that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _parts(raw: str) -> KeyPath:
    # dotted and quoted keys have rules enough of their own: let tomllib read them
    node = tomllib.loads(f"{raw.strip()} = 0")
    parts: list[str] = []
    while isinstance(node, dict):
        name, node = next(iter(node.items()))
        parts.append(name)
    return tuple(parts)


def _skip_blank(text: str, position: int) -> int:
    while position < len(text):
        if text[position] == "#":
            position = _end_of_line(text, position)
        elif text[position].isspace():
            position += 1
        else:
            break
    return position


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _find(text: str, position: int, wanted: str) -> int:
    """The next `wanted` outside quotes."""
    while position < len(text) and text[position] != wanted:
        position = _end_of_string(text, position) if text[position] in "\"'" else position + 1
    return position


def _end_of_value(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        letter = text[position]
        if letter in "\"'":
            position = _end_of_string(text, position)
            continue
        if letter == "#":
            position = _end_of_line(text, position)
            continue
        if letter == "\n" and depth == 0:
            return position
        depth += (letter in "[{") - (letter in "]}")
        position += 1
    return position


def _end_of_string(text: str, position: int) -> int:
    quote = text[position]
    close = quote * 3 if text.startswith(quote * 3, position) else quote
    position += len(close)
    while position < len(text) and not text.startswith(close, position):
        position += 2 if quote == '"' and text[position] == "\\" else 1
    position += len(close)
    # """a"""" ends with up to two quotes that belong to the text
    while len(close) == 3 and position < len(text) and text[position] == quote:
        position += 1
    return position
