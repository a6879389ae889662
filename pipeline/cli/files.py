"""Files that a command line names: what is wrong with one is said before the work begins."""

from __future__ import annotations

from pathlib import Path


def fault_to_read(path: Path) -> str:
    """Why nothing can be read there, "" when it looks as if it could."""
    if path.is_dir():
        return f"{path} is a directory, not a file"
    return "" if path.exists() else f"{path}: there is no such file"


def fault_to_write(path: Path) -> str:
    """Why no file can be made there, "" when it looks as if one could."""
    if path.is_dir():
        return f"{path} is a directory, not a file"
    return "" if path.parent.is_dir() else f"{path}: the folder {path.parent} does not exist"
