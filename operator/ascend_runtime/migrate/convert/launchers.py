"""Shell scripts, YAML files and Dockerfiles: environment settings, backends and devices given on a command line."""

from __future__ import annotations

import re

from ascend_runtime.migrate.convert.edits import Edit, Operation, apply_edits, compatible
from ascend_runtime.migrate.convert.rewrite import Converted
from ascend_runtime.migrate.convert.source import MAX_BYTES, Unreadable
from ascend_runtime.migrate.convert.targets import ENVIRONMENT
from ascend_runtime.migrate.findings import Finding

_ENVIRONMENT = re.compile(r"(?<![A-Za-z0-9_])(" + "|".join(ENVIRONMENT) + r")(?![A-Za-z0-9_])")
_SETTING = r"(?:--|(?<![\w-]))[\w-]*{key}(?:\s*[=:]\s*|\s+)[\"']?(?P<value>{value})(?![\w:/.-])"
_BACKEND = re.compile(_SETTING.format(key="backend", value=r"nccl|NCCL|(?:(?:cpu|cuda|npu):\w+,?)+"))
_DEVICE = re.compile(_SETTING.format(key="device", value=r"cuda(?::\d+)?"))
_LEFT = (
    (re.compile(r"(?<!\w)(?:TORCH_)?NCCL_[A-Z_]+"), "info", "has no effect on Ascend", "use HCCL's own settings"),
    (re.compile(r"nvidia-smi"), "minor", "is not on Ascend nodes", "use npu-smi info"),
    (re.compile(r"nvidia\.com/gpu"), "major", "asks for GPUs", "ask for huawei.com/Ascend910"),
    (re.compile(r"FROM\s+\S*(?:nvidia|cuda)\S*"), "major", "is a CUDA image", "use an image with CANN and torch_npu"),
    (re.compile(r"--gpus?\b[ =]all"), "minor", "gives GPUs to a container", "use the Ascend container runtime"),
    (re.compile(r"\bnvcc\b"), "major", "builds CUDA sources", "rewrite the operators, or take them out"),
)


def is_launcher(path: str) -> bool:
    """Tell whether a file is read by these rules, by its name."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith((".sh", ".bash", ".yaml", ".yml", ".dockerfile")) or name.startswith("dockerfile")


def rewrite_launcher(path: str, raw: bytes) -> Converted:
    """Convert one file; bytes that are not UTF-8 are kept as they are; raises Unreadable for one that is too large."""
    if len(raw) > MAX_BYTES or b"\0" in raw:
        raise Unreadable(f"larger than {MAX_BYTES} bytes" if len(raw) > MAX_BYTES else "not a text file")
    text = raw.decode("utf-8", "surrogateescape")
    edits: list[Edit] = []
    findings: list[Finding] = []
    position = 0
    for number, line in enumerate(_lines(text), start=1):
        if not line.lstrip().startswith("#"):
            edits += _line_edits(line, number, position)
            findings += _line_findings(path, line, number)
        position += len(line)
    kept = compatible(edits)
    after = apply_edits(text, kept).encode("utf-8", "surrogateescape") if kept else None
    return Converted(path, raw, after, tuple(kept), tuple(findings))


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _line_edits(line: str, number: int, position: int) -> list[Edit]:
    found = [("environment", m.span(1), ENVIRONMENT[m.group(1)]) for m in _ENVIRONMENT.finditer(line)]
    for m in _BACKEND.finditer(line):
        found.append(("backend-string", m.span("value"), _hccl(m.group("value"))))
    found += [
        ("device-string", m.span("value"), m.group("value").replace("cuda", "npu")) for m in _DEVICE.finditer(line)
    ]
    return [
        Edit(
            position + start, position + end, new, rule, Operation.MODIFY,
            f"change {line[start:end]} to {new}", number, number,
        )
        for rule, (start, end), new in found
        if new != line[start:end]
    ]  # fmt: skip


def _hccl(value: str) -> str:
    return value.replace("nccl", "hccl").replace("NCCL", "HCCL").replace("cuda:", "npu:")


def _line_findings(path: str, line: str, number: int) -> list[Finding]:
    return [
        Finding("launcher", severity, path, number, number, m.group(), f"{m.group()} {message}", remedy)
        for pattern, severity, message, remedy in _LEFT
        for m in pattern.finditer(line)
    ]
