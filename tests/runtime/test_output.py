"""Publishing a result: killed at any change of the disk, the next attempt comes to the same end."""

from __future__ import annotations

import pytest
from ascend_runtime.errors import Fenced, InvalidInput
from ascend_runtime.folders import read_manifest
from ascend_runtime.output import finished_output, is_own, publish, remove_leftovers
from runtime.builders import make_config, make_folder
from runtime.ranks import fork, kill_at, wait_for


def write(folder):
    (folder / "adapter.bin").write_text("learned")
    (folder / "config.json").write_text("{}")


def attempt(config):
    """What an attempt does at its end: publish, unless an earlier one had."""
    if finished_output(config) is None:
        publish(config, {"type": "adapter"}, write, lambda: None)
    remove_leftovers(config)
    return 0


def place(home, before):
    target = home / "models" / "faq"
    if before == "foreign":
        make_folder(target, "theirs", specDigest="sha256:x", job={"uid": "other"})
    return target


@pytest.mark.parametrize("before", ["nothing", "foreign"])
def test_killed_anywhere_the_next_attempt_comes_to_the_same_end(tmp_path, before):
    calls, code = 0, -9
    while code == -9:
        home = tmp_path / str(calls)
        target = place(home, before)
        config = make_config(home, {"output.ifExists": "Overwrite"})
        code = wait_for(fork(lambda given=config: attempt(given), tmp_path / "log", kill_at(calls)))
        seen = read_manifest(target)
        assert seen is None or is_own(config, seen) or seen.facts["specDigest"] == "sha256:x"
        attempt(config)
        assert is_own(config, read_manifest(target))
        assert [path.name for path in target.parent.iterdir()] == ["faq"]
        calls += 1
    assert code == 0
    assert calls > 10


def test_at_every_moment_the_output_is_whole(tmp_path):
    """An Overwrite leaves the old result or the new one or, for the moment between two renames, none."""
    for calls in range(12):
        home = tmp_path / str(calls)
        target = place(home, "foreign")
        config = make_config(home, {"output.ifExists": "Overwrite"})
        wait_for(fork(lambda given=config: attempt(given), tmp_path / "log", kill_at(calls)))
        assert not target.exists() or read_manifest(target) is not None


def test_a_fenced_attempt_publishes_nothing(tmp_path):
    config = make_config(tmp_path)

    def fence():
        raise Fenced

    with pytest.raises(Fenced):
        publish(config, {}, write, fence)
    assert not config.output.path.exists()


def test_what_appeared_in_the_meantime_is_left_alone(tmp_path):
    config = make_config(tmp_path)
    make_folder(config.output.path, "theirs", specDigest="sha256:x")
    with pytest.raises(InvalidInput, match="already holds the result of another spec"):
        publish(config, {}, write, lambda: None)
    assert (config.output.path / "file").read_text() == "theirs"


def test_what_a_fenced_attempt_of_the_same_job_published_late_is_replaced(tmp_path):
    config = make_config(tmp_path)
    make_folder(config.output.path, "late", specDigest=config.spec_digest, job=dict(config.job))
    publish(config, {"type": "adapter"}, write, lambda: None)
    assert (config.output.path / "adapter.bin").exists()
    assert not (config.output.path / "file").exists()


def test_a_file_in_the_way_is_overwritten(tmp_path):
    config = make_config(tmp_path, {"output.ifExists": "Overwrite"})
    config.output.path.parent.mkdir()
    config.output.path.write_text("a file")
    publish(config, {}, write, lambda: None)
    assert (config.output.path / "adapter.bin").exists()
