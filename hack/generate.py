"""Write what is made from the code: CRDs, the chart's roles, values and their schema, the API reference.

`python3 hack/generate.py` writes, `--check` only compares and ends with 1 when something is not as the code has it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from generators import manifests, rbac, reference, values

ROOT = Path(__file__).resolve().parent.parent
OWNED = ("crds", "charts/ascend-jobs/templates/crds")
"""Folders in which everything is generated; what else is there belonged to something that is gone."""


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail and show the difference")
    check = parser.parse_args().check
    wanted = desired_files()
    changed = [path for path, text in wanted.items() if update(path, text, check=check)]
    changed += [path for path in leftovers(wanted) if remove(path, check=check)]
    if check and changed:
        print(f"{len(changed)} generated files are not current: run `make generate`", file=sys.stderr)
        return 1
    print(f"{len(wanted)} generated files, {len(changed)} changed")
    return 0


def desired_files() -> dict[str, str]:
    """Return the text of every generated file by its path."""
    return {**manifests.files(), **rbac.files(), **values.files(), **reference.files()}


def leftovers(wanted: dict[str, str]) -> list[str]:
    """Return the files in owned folders that nothing generates."""
    found = [str(path.relative_to(ROOT)) for folder in OWNED for path in (ROOT / folder).glob("*")]
    return sorted(set(found) - set(wanted))


def update(path: str, text: str, *, check: bool) -> bool:
    """Write a file, or show how it differs; say whether it differed."""
    file = ROOT / path
    old = file.read_text() if file.exists() else ""
    if old == text:
        return False
    if check:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), path, f"{path} (code)"))
        return True
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    print(f"wrote {path}")
    return True


def remove(path: str, *, check: bool) -> bool:
    """Remove a file that nothing generates any more, or name it."""
    print(f"{path}: nothing generates this" if check else f"removed {path}")
    if not check:
        (ROOT / path).unlink()
    return True


if __name__ == "__main__":
    sys.exit(main())
