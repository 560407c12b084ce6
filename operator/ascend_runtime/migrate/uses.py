"""What a scan of one Python file gives: each use of a name with its place, and what other files need to know of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import StrEnum

from ascend_runtime.migrate.paths import UNKNOWN


class UseKind(StrEnum):
    """How a name is used where it stands."""

    CALL = "call"
    BASE = "base"
    DECORATOR = "decorator"
    REFERENCE = "reference"


class Use:
    """A use of a name: lines from 1, columns in UTF-8 bytes from 0 as ast has them, the end is exclusive.

    Lines and columns cover the name (`a.b.c`), `last_line` the whole call. `positional` holds the literals of the
    positional arguments (`?` where it is none), `keywords` those given by name; a starred one is under `*` or `**`.
    `within` is the function or class around, dotted inside the module, empty at its top.
    """

    __slots__ = (
        "column",
        "end_column",
        "end_line",
        "keywords",
        "kind",
        "last_line",
        "line",
        "path",
        "positional",
        "within",
    )

    def __init__(self, kind: UseKind, path: str, node: ast.expr | ast.stmt, within: str) -> None:
        """Take the position from the node of the name itself."""
        self.kind = kind
        self.path = path
        self.line = node.lineno
        self.column = node.col_offset
        self.end_line = node.end_lineno or node.lineno
        self.end_column = node.end_col_offset or node.col_offset
        self.last_line = self.end_line
        self.within = within
        self.positional: tuple[str, ...] = ()
        self.keywords: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """The last part of the path: the function's or method's own name."""
        return self.path.rpartition(".")[2]


@dataclass(slots=True)
class ClassInfo:
    """A class: its bases and the paths of its attributes, and the parameters of its methods."""

    line: int
    bases: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)
    methods: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class FunctionInfo:
    """A function: where it stands (`line` to `end_line`), its parameters, the path of what it returns."""

    line: int
    end_line: int
    parameters: tuple[str, ...]
    returns: str = UNKNOWN


@dataclass(slots=True)
class FileScan:
    """What one file says. Keys of `classes` and `functions` are dotted inside the module (`Net.forward`)."""

    module: str
    is_package: bool
    names: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    imports: list[tuple[str, int, str]] = field(default_factory=list)
    """Each imported dotted name, its line, and `optional` where it stands in a try block, else an empty text."""
    classes: dict[str, ClassInfo] = field(default_factory=dict)
    functions: dict[str, FunctionInfo] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    masks: list[tuple[int, int]] = field(default_factory=list)
    """Lines of assignments `name[name] = name`, which write through a mask or an index tensor."""
    shapes: list[tuple[int, int, str]] = field(default_factory=list)
    """Lines where a shape depends on data, and the sign of it: `mask` (an element by comparison) or `item`."""
