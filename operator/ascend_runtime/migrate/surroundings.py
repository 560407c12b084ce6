"""What stands around the API calls: libraries by import, CUDA in scripts, settings, images, and in Python's strings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ascend_runtime.migrate.findings import Finding, make_finding, note
from ascend_runtime.migrate.tables import libraries
from ascend_runtime.migrate.uses import FileScan

_CUDA_ONLY = {
    "triton": "Triton kernels",
    "cupy": "CuPy",
    "pycuda": "PyCUDA",
    "tensorrt": "TensorRT",
    "torch_tensorrt": "TensorRT",
    "pynvml": "NVML",
    "nvidia": "an NVIDIA library (DALI and others)",
    "amp_C": "an extension of apex",
    "numba.cuda": "numba for CUDA",
    "transformer_engine": "NVIDIA Transformer Engine",
}
"""Import names of what has no counterpart in data/libraries.csv and needs CUDA."""

_VARIABLE = re.compile(r"\b(CUDA_VISIBLE_DEVICES|CUDA_LAUNCH_BLOCKING|CUDA_DEVICE_ORDER|CUDA_HOME|NCCL_[A-Z0-9_]+)\b")
_PATTERNS = (
    ("cuda-tool", re.compile(r"\b(nvidia-smi|nvcc|nsys|ncu)\b")),
    ("cuda-image", re.compile(r"^\s*FROM\s+(?:--\S+\s+)?(\S*(?:nvidia|nvcr\.io|cuda)\S*)", re.IGNORECASE)),
    (
        "cuda-package",
        re.compile(r"(\S+/whl/cu\d+|\bnvidia-[a-z0-9-]+-cu\d+|\bflash[-_]attn\b|\bcupy-\S+)"),
    ),
    ("cuda-backend", re.compile(r"(?<![\w./-])(nccl)(?![\w])", re.IGNORECASE)),
    ("cuda-device", re.compile(r"(?<![\w./-])(cuda(?::\d+)?)(?![\w./-])")),
    ("cuda-resource", re.compile(r"\b(nvidia\.com/gpu[\w.-]*)")),
)
_AUTOMATIC = ("cuda-backend", "cuda-device", "cuda-resource")
_LONGEST_LINE = 20_000


def library_findings(file: str, scan: FileScan) -> Iterator[Finding]:
    """Yield libraries of an import statement that need an adapter or do not run; an optional import asks less."""
    seen: set[str] = set()
    for name, line, optional in scan.imports:
        module = _library_of(name)
        if module and module not in seen:
            seen.add(module)
            yield _library(file, module, line, is_optional=bool(optional))


def _library_of(name: str) -> str | None:
    """Return the longest prefix of a dotted import that is a library we know."""
    parts = name.split(".")
    known = libraries()
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in _CUDA_ONLY or prefix in known:
            return prefix
    return None


def _library(file: str, module: str, line: int, *, is_optional: bool) -> Finding:
    lines = (line, line)
    if module in _CUDA_ONLY:
        message = f"{module} is {_CUDA_ONLY[module]}: it does not run on Ascend."
        return _soften(
            make_finding("library", file, lines, module, message, f"library:{module}"), is_optional=is_optional
        )
    row = libraries()[module]
    detail = "; ".join(part for part in (row["versions"], row["note"]) if part)
    message = f"{row['name']}: {row['status']} on Ascend{f' ({detail})' if detail else ''}."
    if row["status"] in ("native", "guarded") or module == "torchvision":
        return note("library", file, lines, module, message)
    key = f"library:{module.partition('.')[0]}"
    return _soften(make_finding("library", file, lines, module, message, key), is_optional=is_optional)


def _soften(finding: Finding, *, is_optional: bool) -> Finding:
    """Make a finding minor if the code can do without the import."""
    if not is_optional:
        return finding
    return replace(finding, severity="minor", minutes=10, message=f"{finding.message} The import is optional here.")


def text_findings(file: str, kind: str, text: str) -> Iterator[Finding]:
    """Yield what in the lines of a file means CUDA; Python files give environment variables and tools alone."""
    if not any(word in text for word in ("CUDA", "NCCL", "cuda", "nccl", "nvidia", "nv", "flash")):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) <= _LONGEST_LINE and not line.lstrip().startswith(("#", "//")):
            yield from _line_findings(file, kind, number, line)


def _line_findings(file: str, kind: str, number: int, line: str) -> Iterator[Finding]:
    lines = (number, number)
    for match in _VARIABLE.finditer(line):
        message = f"{match.group(1)} has no effect on Ascend."
        yield make_finding("environment", file, lines, match.group(1), message)
    if kind in ("python", "notebook"):
        return
    for rule, pattern in _PATTERNS:
        hit = pattern.search(line)
        if hit and rule in _AUTOMATIC:
            message = f"{hit.group(1)} names a CUDA device, backend or resource; the NPU's name takes its place."
            yield note(rule, file, lines, hit.group(1), message)
        elif hit:
            yield make_finding(rule, file, lines, hit.group(1), f"{hit.group(1)} belongs to CUDA.", rule)


def native_findings(files: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Yield CUDA sources, one finding a file (its name and text)."""
    for file, text in files:
        if file.endswith((".cu", ".cuh")) or "cuda_runtime" in text:
            yield make_finding("cuda-source", file, (1, 1), file, "CUDA source of an operator.", "cuda-source")
