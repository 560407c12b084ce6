"""The trainer with two gloo processes on the toy model: same losses, resumed bit for bit, fenced, whole at any kill."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from ascend_jobs import names
from ascend_runtime.chain import Point, point_folder, read_points, read_records, write_record
from ascend_runtime.folders import read_json, read_manifest
from ascend_runtime.prepare import prepare
from runtime.builders import make_config, make_document, make_table
from runtime.ranks import kill_at, train_ranks

STEPS = {"training.hyperparameters.maxSteps": 6}
LOST = {names.EXIT_PEER_LOST}


def prepared(home, changes=None):
    document = make_document(home, {**STEPS, **(changes or {})})
    prepare(make_config(home, {**STEPS, **(changes or {})}))
    return document


@pytest.fixture(scope="module")
def reference(toy, tmp_path_factory):
    """An uninterrupted run of two ranks: its home and how the ranks ended."""
    home = tmp_path_factory.mktemp("reference")
    shutil.copytree(toy, home, dirs_exist_ok=True)
    return home, train_ranks(prepared(home), home / "log")


def die_in_step(step):
    """Return a fault: rank 0 is killed when it is about to do a step (from 0)."""

    def arm():
        from ascend_runtime.train import loop

        def take_step(learner, number, take=loop.take_step):
            if number == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return take(learner, number)

        loop.take_step = take_step

    return arm


def start_attempt_in_step(step, workspace, attempt):
    """Return a fault: a later attempt starts while rank 0 is about to do a step."""

    def arm():
        from ascend_runtime.train import loop

        def take_step(learner, number, take=loop.take_step):
            if number == step:
                write_record(workspace, attempt, None)
            return take(learner, number)

        loop.take_step = take_step

    return arm


def learned(home):
    """Return the SHA-256 of the learned weights that a run published."""
    manifest = read_manifest(home / "models" / "faq")
    return next(digest for name, (_, digest) in manifest.files.items() if name.endswith("model.safetensors"))


class TestUninterrupted:
    def test_ends(self, reference):
        _, (first, second) = reference
        assert (first.code, second.code) == (0, 0), first.errors + second.errors
        assert (first.message["steps"], second.message) == (6, {})
        assert first.message["loss"] == first.losses()[-1]
        assert first.message["validationLoss"] == first.events("validation")[-1]["loss"]

    def test_lines(self, reference):
        _, (first, second) = reference
        assert second.lines == []
        assert [line["step"] for line in first.events("progress")] == [1, 2, 3, 4, 5, 6]
        assert [line["step"] for line in first.events("validation")] == [0, 2, 4, 6]
        line = first.events("progress")[-1]
        assert (line["totalSteps"], line["estimatedSecondsLeft"]) == (6, 0)
        assert line["tokensPerSecond"] > 0
        assert line["gradNorm"] > 0
        assert line["learningRate"] < first.events("progress")[1]["learningRate"]

    def test_loss_falls(self, reference):
        _, (first, _) = reference
        held_back = [line["loss"] for line in first.events("validation")]
        assert held_back[-1] < held_back[0] - 0.1

    def test_checkpoint_lines_name_their_manifest(self, reference):
        home, (first, _) = reference
        line = first.events("checkpoint")[-1]
        assert line["uri"] == "pvc://models/.ascendjobs/uid-1/checkpoints/0/step-00000006"
        assert line["sha256"] == read_manifest(home / "workspace/checkpoints/0/step-00000006").sha256

    def test_what_is_left(self, reference):
        home, _ = reference
        assert read_points(home / "workspace") == {Point(0, 6)}
        assert not (home / "workspace" / "data").exists()
        assert read_records(home / "workspace") == {0: None}
        assert [path.name for path in (home / "models").iterdir()] == ["faq"]

    def test_the_adapter(self, reference):
        home, (first, _) = reference
        output = home / "models" / "faq"
        manifest = read_manifest(output)
        (artifact,) = first.message["artifacts"]
        assert artifact == {
            "type": "adapter",
            "uri": "pvc://models/faq",
            "sha256": manifest.sha256,
            "sizeBytes": manifest.size_bytes,
        }
        assert manifest.facts["job"] == {"namespace": "team-a", "name": "faq", "uid": "uid-1"}
        assert manifest.facts["specDigest"] == "sha256:spec"
        assert read_json(output / "adapter_config.json")["base_model_name_or_path"] == "file:///toy/model"
        assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= set(manifest.files)
        assert all((output / name).stat().st_mode & 0o444 == 0o444 for name in manifest.files)

    def test_the_tuned_model_answers(self, reference):
        from ascend_runtime.generate import generate

        home, _ = reference
        (answer,) = generate(home / "model", home / "models" / "faq", ["Where is the red pod?"], 8)
        assert answer.tuned != answer.base


def test_the_same_seed_gives_the_same_losses(home, reference):
    first, _ = train_ranks(prepared(home), home / "log")
    assert first.losses() == reference[1][0].losses()
    assert first.events("validation")[-1]["loss"] == reference[1][0].message["validationLoss"]
    assert learned(home) == learned(reference[0])


def test_how_the_samples_are_shared_out_does_not_matter(home):
    """Two ranks with two batches each learn what one rank with one batch learns: the mean is over tokens, not ranks."""
    still = {"training.lora.dropout": 0.0}
    two, _ = train_ranks(prepared(home, still), home / "log")
    shutil.rmtree(home / "workspace")
    shutil.rmtree(home / "models")
    (one,) = train_ranks(
        prepared(home, {**still, "training.hyperparameters.batchSizePerNpu": 8}), home / "log", world=1
    )
    assert one.losses() == pytest.approx(two.losses(), abs=1e-5)
    held_back = [[line["loss"] for line in ended.events("validation")] for ended in (one, two)]
    assert held_back[0] == pytest.approx(held_back[1], abs=1e-5)


def test_a_killed_run_continues_bit_for_bit(home, reference):
    document = prepared(home)
    killed, other = train_ranks(document, home / "log", fault=die_in_step(5))
    assert killed.code == -signal.SIGKILL
    assert other.code == names.EXIT_PEER_LOST
    assert "another rank went away" in other.message["message"]
    resumed, _ = train_ranks(document, home / "log", attempt=1)
    assert read_records(home / "workspace")[1] == Point(0, 4)
    assert killed.losses()[:4] + resumed.losses() == reference[1][0].losses()
    assert learned(home) == learned(reference[0])


def test_a_damaged_checkpoint_is_passed_over(home, reference):
    document = prepared(home)
    train_ranks(document, home / "log", fault=die_in_step(5))
    with (point_folder(home / "workspace", Point(0, 4)) / "optimizer.pt").open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"damage")
    resumed, _ = train_ranks(document, home / "log", attempt=1)
    assert "attempt 0, step 4 is damaged" in resumed.events("warning")[0]["message"]
    assert resumed.losses() == reference[1][0].losses()[2:]
    assert learned(home) == learned(reference[0])


def test_another_number_of_ranks_continues_by_samples(home):
    document = prepared(home)
    train_ranks(document, home / "log", fault=die_in_step(5))
    (resumed,) = train_ranks(document, home / "log", attempt=1, world=1)
    assert resumed.code == 0
    assert [line["step"] for line in resumed.events("progress")] == [5, 6]
    assert "written by 2 ranks, now there are 1" in resumed.events("warning")[0]["message"]


def test_an_attempt_that_is_over_does_not_start(home):
    document = prepared(home)
    write_record(home / "workspace", 3, None)
    (ended,) = train_ranks(document, home / "log", attempt=2, world=1)
    assert ended.code == 75
    assert read_records(home / "workspace") == {3: None}


def test_an_attempt_that_is_over_publishes_nothing(home):
    document = prepared(home)
    fault = start_attempt_in_step(3, home / "workspace", 1)
    first, second = train_ranks(document, home / "log", fault=fault)
    assert (first.code, second.code) == (75, names.EXIT_PEER_LOST)
    assert read_points(home / "workspace") == {Point(0, 2)}
    assert not (home / "models" / "faq").exists()


@pytest.mark.parametrize("call", [3, 12, 24, 40, 60, 68, 74, 80])
def test_killed_at_any_change_of_the_disk_the_end_is_the_same(home, alone, call):
    """Some of the changes: start, each checkpoint, deleting one, publishing, tidying up."""
    document = prepared(home)
    (killed,) = train_ranks(document, home / "log", world=1, fault=kill_at(call))
    assert killed.code == -signal.SIGKILL
    (ended,) = train_ranks(document, home / "log", world=1, attempt=1)
    assert ended.code == 0, ended.errors
    assert learned(home) == alone
    assert ended.message["artifacts"][0]["sha256"] == read_manifest(home / "models" / "faq").sha256
    assert [path.name for path in (home / "models").iterdir()] == ["faq"]
    assert not list(home.rglob(".tmp-*"))
    assert len(read_points(home / "workspace")) == 1


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    """The learned weights of an uninterrupted run of one rank."""
    home = tmp_path_factory.mktemp("alone")
    shutil.copytree(toy, home, dirs_exist_ok=True)
    (ended,) = train_ranks(prepared(home), home / "log", world=1)
    assert ended.code == 0, ended.errors
    return learned(home)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_full_training(home, dtype):
    changes = {"training.method": "full", "training.hyperparameters.dtype": dtype}
    (ended,) = train_ranks(prepared(home, changes), home / "log", world=1)
    assert ended.code == 0, ended.errors
    assert ended.losses()[-1] < ended.losses()[0]
    assert ended.message["artifacts"][0]["type"] == "model"
    config = read_json(home / "models" / "faq" / "config.json")
    assert config["dtype"] == {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype]
    assert {"model.safetensors", "tokenizer.json"} <= set(read_manifest(home / "models" / "faq").files)


def test_a_published_job_is_not_trained_again(home, reference):
    shutil.copytree(reference[0], home, dirs_exist_ok=True)
    (again,) = train_ranks(make_document(home, STEPS), home / "log", attempt=1, world=1)
    assert again.code == 0
    assert again.lines == []
    assert again.message == reference[1][0].message


def test_without_data_prepare_has_to_run(home):
    (ended,) = train_ranks(make_document(home), home / "log", world=1)
    assert ended.code == 1
    assert "prepare has to run" in ended.message["message"]


def test_a_rank_table_that_contradicts_the_environment(home):
    table = home / "hccl.json"
    table.write_text(make_table(("10.1.0.1", (0, 1)), ("10.1.0.2", (2, 3))))
    environ = {"RANK_TABLE_FILE": str(table), "NNODES": "2", "POD_IP": "10.1.0.2", "NPROC_PER_NODE": "1"}
    environ |= {"WORLD_SIZE": "2", "NODE_RANK": "1"}
    (ended,) = train_ranks(make_document(home), home / "log", world=1, environ={**environ, "RANK": None})
    assert ended.code == 1
    assert "rank_id of container_ip 10.1.0.2 is 2, 3; NODE_RANK and NPROC_PER_NODE say 1" in ended.message["message"]


def test_a_loss_that_is_no_number_ends_the_run(home):
    import torch
    from safetensors.torch import load_file, save_file

    document = prepared(home)
    weights = load_file(home / "model" / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, home / "model" / "model.safetensors", metadata={"format": "pt"})
    (ended,) = train_ranks(document, home / "log", world=1)
    assert ended.code == 1
    assert "the validation loss after step 0 is nan; lower learningRate" in ended.message["message"]


def test_wrong_input_ends_with_65_and_its_field(home):
    document = prepared(home)
    document["training"]["hyperparameters"]["globalBatchSize"] = 5
    (ended,) = train_ranks(document, home / "log", world=1)
    assert ended.code == 65
    assert ended.message["reason"] == "ConfigInvalid"
    assert ended.message["field"] == "spec.training.hyperparameters.globalBatchSize"
    assert json.dumps(ended.message)
