"""Real packages: every file compiles, a second conversion changes nothing, untouched lines stay."""

from __future__ import annotations

import difflib
import os
import zipfile
from pathlib import Path

import pytest
from ascend_runtime.migrate.convert.folder import convert_folder, read_project
from ascend_runtime.migrate.convert.source import parse_text

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ascend-jobs"


@pytest.fixture(scope="module")
def yolov5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = next(CACHE.rglob("yolov5-7.0.14-*.whl"), None) if CACHE.is_dir() else None
    if wheel is None:
        pytest.skip("the wheel of yolov5 7.0.14 is not in the cache folder: make bench-migrate fetches it")
    root = tmp_path_factory.mktemp("yolov5")
    zipfile.ZipFile(wheel).extractall(root)
    return root


def test_yolov5(yolov5: Path) -> None:
    project = read_project(yolov5, (2, 7))
    first = convert_folder(yolov5, project)
    assert not first.skipped
    assert len(first.changed) >= 14
    for item in first.changed:
        assert item.after is not None
        if item.path.endswith(".py"):
            parse_text(item.after.decode())
        before, after = item.before.splitlines(), item.after.splitlines()
        touched = {number for edit in item.edits for number in range(edit.line, edit.end_line + 1)}
        for tag, start, end, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            assert tag in ("equal", "insert") or set(range(start + 1, end + 1)) <= touched
        (yolov5 / item.path).write_bytes(item.after)
    second = convert_folder(yolov5, read_project(yolov5, (2, 7)))
    assert second.changed == []
    left = b"".join(path.read_bytes() for path in yolov5.rglob("*.py"))
    assert b"torch.cuda.is_available()" not in left.replace(b"force torch.cuda", b"").replace(b"# ", b"")
