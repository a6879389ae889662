"""The words that this program writes by itself: all others in a free text may name somebody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from pipeline.core.pseudonyms import words_of

_PACKAGES = ("pipeline", "stages", "state", "config")


def own_words() -> frozenset[str]:
    """From the string constants of the program's own code, docstrings aside; empty where only bytecode is installed."""
    texts: list[str] = []
    for package in _PACKAGES:
        for file in _sources(resources.files(package)):
            texts += _constants(ast.parse(file.read_text(encoding="utf-8")))
    return words_of(texts)


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _sources(item)
        elif item.name.endswith(".py"):
            yield item


def _constants(tree: ast.Module) -> Iterator[str]:
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value
