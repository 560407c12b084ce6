"""Follow symbolic paths through a whole project: re-exports, star imports, base classes, what functions return."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from ascend_runtime.migrate.paths import FORWARD, UNKNOWN
from ascend_runtime.migrate.uses import ClassInfo, FileScan, FunctionInfo

TENSOR = "torch.Tensor()"
EXTENSION = "torch.utils.cpp_extension.load()"
"""A module compiled when the program runs: what is called on it are the project's own operators."""
_MAKERS = {
    "torch.jit.script": "torch.jit.ScriptModule()",
    "torch.jit.trace": "torch.jit.ScriptModule()",
    "torch.jit.load": "torch.jit.ScriptModule()",
    "torch.fx.symbolic_trace": "torch.fx.GraphModule()",
    "torch.export.export": "torch.export.ExportedProgram()",
    "torch.nn.utils.rnn.pack_padded_sequence": "torch.nn.utils.rnn.PackedSequence()",
    "torch.nn.utils.rnn.pack_sequence": "torch.nn.utils.rnn.PackedSequence()",
    "torch.device": UNKNOWN,
    "torch.utils.cpp_extension.load": EXTENSION,
    "torch.utils.cpp_extension.load_inline": EXTENSION,
}
"""Results of lower-case functions of torch that are no tensors but have methods the tables list."""
_NO_TENSOR = frozenset(
    {"size", "stride", "item", "tolist", "numpy", "dim", "ndimension", "numel", "nelement", "element_size", "data_ptr"}
    | {"get_device", "storage", "untyped_storage", "is_contiguous", "is_floating_point", "backward", "register_hook"}
)
_SELVES = frozenset(
    {"to", "cuda", "cpu", "npu", "half", "float", "double", "bfloat16", "eval", "train", "requires_grad_"}
)
"""Methods of a module that return the module."""
_FOREIGN = ("torch", *sys.stdlib_module_names)
_DEEPEST = 64


class Project:
    """All files of a project by dotted name, and the paths resolved so far."""

    def __init__(self, scans: Iterable[FileScan], is_listed: Callable[[str], bool]) -> None:
        """Take the scans; `is_listed` says of a dotted torch name whether it exists (for `from torch.x import *`)."""
        self.modules = {scan.module: scan for scan in scans}
        self.classes: dict[str, tuple[ClassInfo, FileScan]] = {}
        self.functions: dict[str, FunctionInfo] = {}
        for scan in self.modules.values():
            prefix = f"{scan.module}." if scan.module else ""
            self.classes.update((prefix + name, (info, scan)) for name, info in scan.classes.items())
            self.functions.update((prefix + name, info) for name, info in scan.functions.items())
        self.roots = frozenset(module.partition(".")[0] for module in self.modules)
        self._is_listed = is_listed
        self._shorter = self._suffixes()
        self._known: dict[str, str] = {}
        self._depth = 0

    def _suffixes(self) -> dict[str, str]:
        """Return modules by the shorter names by which files below a source root import them, if only one has it."""
        found: dict[str, str] = {}
        for module in self.modules:
            parts = module.split(".")
            for start in range(1, len(parts)):
                if parts[start] not in _FOREIGN:
                    short = ".".join(parts[start:])
                    found[short] = "" if short in found else module
        return found

    def module_named(self, name: str) -> str | None:
        """Return the dotted name of the project's file that `import name` means, None for a foreign module."""
        if name in self.modules:
            return name
        if name.partition(".")[0] in _FOREIGN:
            return None
        return self._shorter.get(name) or None

    def resolve(self, path: str) -> str:
        """Return a path with all that the project defines followed; what cannot be told starts with `?`."""
        known = self._known.get(path)
        if known is not None:
            return known
        if self._depth > _DEEPEST or path.startswith(UNKNOWN):
            return path if path.startswith(UNKNOWN) else UNKNOWN
        self._known[path] = UNKNOWN
        self._depth += 1
        try:
            result = self._resolve(path)
        finally:
            self._depth -= 1
        self._known[path] = result
        return result

    def _resolve(self, path: str) -> str:
        """Take the path step by step from its root, so that its length costs no recursion."""
        current = ""
        for step in _steps(path):
            if step == "()":
                current = self._result(current)
            elif step == "[]":
                current = TENSOR if current == TENSOR else UNKNOWN
            else:
                current = self._attribute(current, step) if current else self._root(step)
        return current

    def _root(self, name: str) -> str:
        return self.module_named(name) or name

    def _attribute(self, base: str, name: str) -> str:
        if base.startswith(UNKNOWN):
            return f"{base}.{name}"
        if base in self.modules:
            return self._member(self.modules[base], name)
        owner = base.removesuffix("()")
        if owner in self.classes:
            return self._class_attribute(owner, name, is_instance=base != owner)
        whole = f"{base}.{name}"
        return self.module_named(whole) or whole

    def _member(self, scan: FileScan, name: str) -> str:
        whole = f"{scan.module}.{name}"
        bound = scan.names.get(name)
        if bound is not None:
            return whole if bound == whole else self.resolve(bound)
        if whole in self.modules:
            return whole
        for star in scan.stars:
            found = self._from_star(star, name)
            if found:
                return found
        return "torch" if name == "torch" else UNKNOWN

    def _from_star(self, star: str, name: str) -> str | None:
        module = self.module_named(star)
        if module is None:
            whole = f"{star}.{name}"
            return whole if star.startswith("torch") and self._is_listed(whole) else None
        found = self.resolve(f"{module}.{name}")
        return None if found.startswith(UNKNOWN) else found

    def _class_attribute(self, owner: str, name: str, *, is_instance: bool) -> str:
        if name == FORWARD:
            return TENSOR if self.is_torch_module(owner) else UNKNOWN
        for cls in self._lineage(owner):
            if cls not in self.classes:
                return f"{cls}().{name}"
            info = self.classes[cls][0]
            bound = info.attributes.get(name)
            if bound is not None:
                return bound if bound == f"{cls}.{name}" else self.resolve(bound)
        return f"{owner}{'()' if is_instance else ''}.{name}"

    def _lineage(self, owner: str) -> list[str]:
        """Return a class and its bases, own ones first, then the first foreign one; cycles end."""
        seen: list[str] = []
        foreign: list[str] = []
        pending = [owner]
        while pending and len(seen) < _DEEPEST:
            cls = pending.pop(0)
            if cls in seen or cls.startswith(UNKNOWN):
                continue
            if cls in self.classes:
                seen.append(cls)
                pending.extend(self.resolve(base) for base in self.classes[cls][0].bases)
            elif cls.startswith("torch."):
                foreign.append(cls)
        return [*seen, *foreign[:1]]

    def is_torch_module(self, owner: str) -> bool:
        """Tell whether a class of the project is a torch.nn.Module, through however many bases."""
        last = self._lineage(owner)[-1]
        return last.startswith("torch.nn.") or last in ("torch.jit.ScriptModule", "torch.fx.GraphModule")

    def _result(self, callee: str) -> str:
        if callee in self.functions:
            return self.resolve(self.functions[callee].returns)
        if callee in self.classes:
            return f"{callee}()"
        if callee.endswith("()"):
            return self._called_instance(callee)
        if not callee.startswith("torch."):
            return UNKNOWN if callee.startswith(UNKNOWN) else f"{callee}()"
        return _torch_result(callee)

    def _called_instance(self, instance: str) -> str:
        owner = instance.removesuffix("()")
        if owner in self.classes:
            forward = self._class_attribute(owner, "forward", is_instance=True)
            found = self._result(forward) if forward in self.functions else UNKNOWN
            return TENSOR if found.startswith(UNKNOWN) and self.is_torch_module(owner) else found
        return TENSOR if owner.startswith("torch.nn.") else UNKNOWN


def _torch_result(callee: str) -> str:
    made = _MAKERS.get(callee)
    if made is not None:
        return made
    owner, _, last = callee.rpartition(".")
    if owner.endswith("()"):
        if owner == TENSOR:
            return UNKNOWN if last in _NO_TENSOR else TENSOR
        return owner if last in _SELVES else UNKNOWN
    return TENSOR if last[:1].islower() or last == "Tensor" else f"{callee}()"


def _steps(path: str) -> Iterable[str]:
    for part in path.replace("()", ".()").replace("[]", ".[]").split("."):
        if part:
            yield part


def api_name(path: str) -> str:
    """Return the dotted API name of a resolved path: `torch.nn.Linear().forward` is torch.nn.Linear.forward."""
    return path.replace("().", ".").removesuffix(".__init__")
