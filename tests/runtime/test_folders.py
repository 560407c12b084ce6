from __future__ import annotations

import json

import pytest
from ascend_runtime.folders import MANIFEST, make_aside, read_manifest, remove_folder, sweep_aside
from runtime.builders import make_folder


def test_a_whole_folder(tmp_path):
    manifest = read_manifest(make_folder(tmp_path / "x", "abc", step=3))
    assert manifest.facts == {"step": 3}
    assert manifest.size_bytes == 3
    document = json.loads((tmp_path / "x" / MANIFEST).read_text())
    assert document["complete"] is True
    assert document["files"][0]["path"] == "file"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / MANIFEST).unlink(), id="no-manifest"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text("[]"), id="no-object"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text('{"files": [3], "complete": true}'), id="no-entry"),
        pytest.param(lambda folder: (folder / MANIFEST).write_text('{"files": []}'), id="not-complete"),
        pytest.param(lambda folder: (folder / "file").unlink(), id="no-file"),
        pytest.param(lambda folder: (folder / "file").write_text("conten"), id="cut-short"),
        pytest.param(lambda folder: (folder / "file").write_text("c0ntent"), id="changed"),
    ],
)
def test_a_damaged_folder_does_not_exist(tmp_path, damage):
    folder = make_folder(tmp_path / "x")
    damage(folder)
    assert read_manifest(folder) is None


def test_sizes_alone_cost_no_reading(tmp_path):
    folder = make_folder(tmp_path / "x")
    (folder / "file").write_text("c0ntent")
    assert read_manifest(folder, hashes=False) is not None


def test_asides_are_swept(tmp_path):
    (make_aside(tmp_path / "x", "dead") / "part").touch()
    make_folder(tmp_path / "x")
    sweep_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_removing_what_is_not_there(tmp_path):
    remove_folder(tmp_path / "absent")
