"""Find the files of a project and read them: one that cannot be read is named with its reason and left out.

Links are not followed, so loops and ways out of the folder do not exist. Notebooks become Python of the same line
count as their code cells joined; line numbers then count the lines of the cells in order.
"""

from __future__ import annotations

import ast
import io
import json
import os
import tokenize
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

LARGEST = 10 * 1024 * 1024
"""Bytes; larger files are skipped, as the upstream tool does."""

_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".mypy_cache"})
_SUFFIXES = {
    ".py": "python",
    ".ipynb": "notebook",
    ".sh": "shell",
    ".bash": "shell",
    ".slurm": "shell",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".cpp": "native",
    ".cc": "native",
    ".cxx": "native",
    ".cu": "native",
    ".cuh": "native",
    ".dockerfile": "docker",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its path relative to the project with `/`, where it is, its kind (python, notebook, shell, ...).

    `package` is the name of the project's own folder where that is a package, else empty.
    """

    name: str
    path: Path
    kind: str
    size: int
    package: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not analysed, and why, in a sentence."""

    name: str
    reason: str


def find_files(root: Path) -> tuple[list[Found], list[Skipped]]:
    """Return the files of a project that say something about migration, sorted by name, and those left out."""
    found: list[Found] = []
    skipped: list[Skipped] = []
    package = root.resolve().name if (root / "__init__.py").is_file() else ""
    for folder, folders, names in os.walk(root, onerror=None):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not (here / name).is_symlink())
        for name in sorted(names):
            kind = kind_of(name)
            if kind:
                _add(here / name, (here / name).relative_to(root).as_posix(), kind, found, skipped)
    if package:
        found = [replace(one, package=package) for one in found]
    return found, skipped


def kind_of(name: str) -> str | None:
    """Return the kind of a file by its name, None for one of no interest."""
    lowered = name.lower()
    if lowered.startswith(("dockerfile", "containerfile")):
        return "docker"
    if lowered.startswith("requirements") and lowered.endswith(".txt"):
        return "requirements"
    return _SUFFIXES.get(os.path.splitext(lowered)[1])  # noqa: PTH122 - a str, and a hundred thousand of them


def _add(path: Path, name: str, kind: str, found: list[Found], skipped: list[Skipped]) -> None:
    printable = name.encode("utf-8", "backslashreplace").decode()
    if path.is_symlink():
        skipped.append(Skipped(printable, "a symbolic link; links are not followed"))
        return
    try:
        status = path.stat()
    except OSError as err:
        skipped.append(Skipped(printable, f"cannot be read: {err.strerror}"))
        return
    if not path.is_file():
        skipped.append(Skipped(printable, "not a regular file"))
    elif status.st_size > LARGEST:
        skipped.append(Skipped(printable, f"larger than {LARGEST // 1024 // 1024} MiB ({status.st_size} bytes)"))
    else:
        found.append(Found(printable, path, kind, status.st_size))


def module_name(name: str, package: str = "") -> tuple[str, bool]:
    """Return the dotted name of a file's path and whether it is a package.

    `a/b.py` is a.b, `a/__init__.py` is a; inside a project that is itself a package, both start with its name.
    """
    parts = [package] if package else []
    parts += name.rsplit(".", 1)[0].split("/")
    if parts[-1] == "__init__":
        return ".".join(parts[:-1]), True
    return ".".join(parts), False


def read_python(found: Found) -> str:
    """Return the text of a Python file by its BOM or coding line, or of a notebook's code cells.

    Raises ValueError with a sentence if it is not decodable or no notebook, OSError if it cannot be read.
    """
    content = found.path.read_bytes()
    if found.kind == "notebook":
        return _notebook(content)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as err:
        raise ValueError(f"cannot be decoded: {err}") from err


def _notebook(content: bytes) -> str:
    try:
        cells = json.loads(content)["cells"]
        sources = [cell["source"] for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise ValueError(f"is no notebook: {err}") from err
    lines: list[str] = []
    for source in sources:
        text = source if isinstance(source, str) else "".join(str(line) for line in source)
        lines.extend(_blank(line) for line in text.splitlines())
    return "\n".join(lines) + "\n"


def _blank(line: str) -> str:
    """Replace a magic or shell line of a notebook by `pass` at its indent."""
    bare = line.lstrip()
    return line[: len(line) - len(bare)] + "pass" if bare.startswith(("%", "!", "?")) else line


def parse_python(text: str) -> ast.Module:
    """Parse text; raises ValueError with line and reason whatever is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as err:
        raise ValueError(f"line {err.lineno or 0}: {err.msg}") from err
    except (ValueError, RecursionError, MemoryError) as err:
        raise ValueError(f"cannot be parsed: {type(err).__name__}") from err


def read_text(found: Found) -> str:
    """Return the text of a file that is not Python; bytes that are no UTF-8 are replaced."""
    return found.path.read_bytes().decode("utf-8", "replace")
