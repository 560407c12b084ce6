"""Small projects for the tests of analysis."""

from pathlib import Path

from ascend_runtime.migrate.analyse import Analysis, analyse


def make_project(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def analyse_files(root: Path, files: dict[str, str | bytes], version: str = "2.7.1", chip: str = "") -> Analysis:
    return analyse(make_project(root, files), version, chip=chip, jobs=1)
