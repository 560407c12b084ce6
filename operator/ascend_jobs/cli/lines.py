"""YAML as Kubernetes reads it, with the line of every value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from ascend_jobs.cli.schemacheck import Path


@dataclass(frozen=True)
class Document:
    """One document of a file: its value, and lines (from 1) by path."""

    value: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest thing around it that is in the file."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


class _Loader(yaml.SafeLoader):
    """Reads dates as strings and 1e-4 as a number, as Kubernetes' YAML reader does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def documents(text: str) -> Iterator[Document]:
    """Yield the documents of a text; raise yaml.MarkedYAMLError where it is no YAML or names a key twice."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                return
            lines: dict[Path, int] = {}
            _note(node, (), lines, ())
            yield Document(loader.construct_document(node), lines)
    finally:
        loader.dispose()


def _note(node: yaml.Node, path: Path, lines: dict[Path, int], around: tuple[yaml.Node, ...]) -> None:
    """Enter the line of a node and of all below it."""
    if node in around:
        raise ConstructorError(None, None, "an alias that refers to itself", node.start_mark)
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note(item, (*path, index), lines, (*around, node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, key.value)
            if below in lines:
                raise ConstructorError(None, None, f"key {key.value} is there twice", key.start_mark)
            lines[below] = key.start_mark.line + 1
            _note(value, below, lines, (*around, node))
