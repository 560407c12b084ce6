from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ascend_runtime.data import store
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import read_json
from ascend_runtime.prepare import prepare, validation_rows
from runtime.builders import make_config, make_folder, write_lines

GOOD = {"instruction": "Where is the red pod?", "output": "In place 3."}


def source(path, format_name="alpaca"):
    return {"uri": f"pvc://data/{path.name}", "path": str(path), "format": format_name}


def with_rows(home, *rows, name="rows.jsonl", **changes):
    path = write_lines(home / "data" / name, *rows)
    return make_config(home, {"dataset.sources": [source(path)], **changes})


def refusal(config):
    with pytest.raises(InvalidInput) as caught:
        prepare(config)
    assert not list(config.workspace.path.glob("data/*"))
    return caught.value


def test_toy_data(home):
    message = prepare(make_config(home))
    assert message["documents"] == 64
    assert (message["trainDocuments"], message["validationDocuments"]) == (58, 6)
    assert (message["alreadyComplete"], message["artifacts"]) == (False, [])
    folder = store.find_current(make_config(home), hashes=True)
    assert folder.name == message["dataset"].removeprefix("sha256:")
    splits = [store.open_split(folder, name) for name in (store.TRAIN, store.VALIDATION)]
    assert sum(split.ids.total for split in splits) == message["tokens"]
    assert all(split.ids.lengths.tolist() == split.labels.lengths.tolist() for split in splits)
    assert {path.name for path in (home / "workspace" / "data").iterdir()} == {folder.name, "current.json"}


def test_the_same_data_is_used_again(home, capsys):
    config = make_config(home)
    first = prepare(config)
    folder = store.find_current(config, hashes=True)
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert prepare(make_config(home, {"specDigest": "sha256:other"})) == first
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert '"reused": "sha256:' in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset.tokenize.maxLength": 63},
        {"dataset.validation.fraction": 0.2},
        {"training.hyperparameters.seed": 8},
    ],
    ids=["length", "fraction", "seed"],
)
def test_what_decides_the_data_is_in_its_digest(home, changes):
    assert store.data_digest(make_config(home)) != store.data_digest(make_config(home, changes))


def test_damaged_data_is_made_again(home):
    config = make_config(home)
    prepare(config)
    file = next(store.find_current(config, hashes=True).glob("train_labels*.bin"))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(store.DataMissing, match="prepare has to run again"):
        store.find_current(config, hashes=False)
    prepare(config)
    store.find_current(config, hashes=True)


def test_progress_lines(home, capsys):
    prepare(make_config(home))
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["event"], line["documents"], line["totalDocuments"]) == ("prepare", 64, 64)


def test_several_sources_of_several_formats(home):
    chat = write_lines(home / "data" / "chat.jsonl", {"conversations": [{"from": "human", "value": "q"}]})
    rows = write_lines(home / "data" / "rows.jsonl", GOOD)
    error = refusal(make_config(home, {"dataset.sources": [source(rows), source(chat, "sharegpt")]}))
    assert error.field == "spec.dataset.sources[1].uri"
    write_lines(chat, {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})
    config = make_config(home, {"dataset.sources": [source(rows), source(chat, "sharegpt")]})
    assert prepare(config)["documents"] == 2


def test_one_bad_row(home):
    error = refusal(with_rows(home, GOOD, {"instruction": "q", "output": ""}))
    assert error.message == "rows.jsonl row 2: no answer (field output is empty); fix or remove the row"


def test_bad_rows_are_counted_and_five_are_named(home):
    error = refusal(with_rows(home, GOOD, *[{"instruction": "q", "output": ""}] * 7))
    assert (error.reason, error.field) == (Reason.DATASET_INVALID, "spec.dataset.uri")
    assert error.message.startswith("7 bad rows: rows.jsonl row 2: no answer (field output is empty); rows.jsonl row 3")
    assert error.message.endswith("row 6: no answer (field output is empty); and 2 more; fix or remove the rows")


@pytest.mark.parametrize(
    ("changes", "reason", "sentence"),
    [
        pytest.param(
            {"dataset.sources": [{"uri": "pvc://data/no.jsonl", "path": "/no.jsonl", "format": "alpaca"}]},
            Reason.DATASET_NOT_FOUND,
            "there is nothing at pvc://data/no.jsonl",
            id="no-file",
        ),
        pytest.param(
            {"dataset.sources": [{"uri": "pvc://data/etc", "path": "/proc/self/task", "format": "alpaca"}]},
            Reason.DATASET_NOT_FOUND,
            "there is no file that ends in .json, .jsonl",
            id="folder-without-files",
        ),
        pytest.param(
            {"dataset.sources": [{"uri": "u", "path": "/p", "format": "csv"}]},
            Reason.CONFIG_INVALID,
            "format csv is none of alpaca, sharegpt, openai, text",
            id="format",
        ),
        pytest.param({"model.path": "/nowhere"}, Reason.MODEL_INVALID, "/nowhere is no folder", id="no-model"),
        pytest.param(
            {"dataset.tokenize.maxLength": 257},
            Reason.CONFIG_INVALID,
            "maxLength is 257, the model takes at most 256 tokens",
            id="longer-than-the-model",
        ),
        pytest.param(
            {"training.lora.targetModules": ["q_proj", "query", "proj"]},
            Reason.CONFIG_INVALID,
            "the model has no module called query, proj",
            id="lora-targets",
        ),
        pytest.param(
            {"dataset.tokenize.maxLength": 4}, Reason.DATASET_INVALID, "no training document has room", id="too-short"
        ),
        pytest.param({"output.path": "/proc"}, Reason.CONFIG_INVALID, "is a whole volume", id="output-is-a-volume"),
    ],
)
def test_refusals(home, changes, reason, sentence):
    error = refusal(make_config(home, changes))
    assert error.reason is reason
    assert sentence in error.message


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda model: (model / "config.json").write_text("{}"), "config.json is missing", id="config"),
        pytest.param(lambda model: (model / "tokenizer.json").unlink(), "the tokenizer is missing", id="no-tokenizer"),
        pytest.param(lambda model: (model / "tokenizer.json").write_text("{"), "does not load", id="bad-tokenizer"),
        pytest.param(lambda model: (model / "model.safetensors").unlink(), "the weights are missing", id="no-weights"),
        pytest.param(
            lambda model: (model / "model.safetensors").rename(model / "model.safetensors.index.json"),
            "the weights are missing",
            id="no-index",
        ),
        pytest.param(
            lambda model: (
                (model / "model.safetensors").unlink(),
                (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.st", "b": "2.st"}}'),
            ),
            "2 of 2 weight files are missing, the first is 1.st",
            id="no-shards",
        ),
        pytest.param(
            lambda model: (model / "chat_template.jinja").unlink(), "the model has no chat template", id="no-template"
        ),
    ],
)
def test_folders_that_are_no_model(home, damage, sentence):
    damage(home / "model")
    error = refusal(make_config(home))
    assert (error.reason, error.field) == (Reason.MODEL_INVALID, "spec.model.uri")
    assert sentence in error.message


def test_weights_cut_short_are_found_by_their_header(home):
    file = home / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert "cut short" in refusal(make_config(home, {"training.lora.targetModules": ["q_proj"]})).message


def test_an_empty_data_set(home):
    assert refusal(with_rows(home)).message == "the data set has no rows"


class TestOutput:
    """What is in the output's place decides whether there is work to do."""

    def prepare(self, home, **changes):
        return prepare(make_config(home, {f"output.{key}": value for key, value in changes.items()}))

    def publish(self, home, **facts):
        own = {"specDigest": "sha256:spec", "job": {"uid": "uid-1"}, "type": "adapter"}
        make_folder(home / "models" / "faq", **{**own, **facts})

    @pytest.mark.parametrize("if_exists", ["Fail", "Skip", "Overwrite"])
    def test_nothing_or_an_empty_folder(self, home, if_exists):
        (home / "models" / "faq").mkdir(parents=True)
        assert not self.prepare(home, ifExists=if_exists)["alreadyComplete"]

    @pytest.mark.parametrize(
        ("if_exists", "facts", "is_complete"),
        [
            pytest.param("Fail", {}, True, id="own"),
            pytest.param("Overwrite", {}, True, id="own-is-never-made-again"),
            pytest.param("Fail", {"job": {"uid": "other"}}, True, id="same-spec"),
            pytest.param("Overwrite", {"job": {"uid": "other"}}, False, id="same-spec-overwritten"),
            pytest.param("Skip", {"specDigest": "sha256:x", "job": {"uid": "other"}}, True, id="other-spec-skipped"),
            pytest.param("Overwrite", {"specDigest": "sha256:x"}, False, id="other-spec-overwritten"),
        ],
    )
    def test_complete(self, home, if_exists, facts, is_complete):
        self.publish(home, **facts)
        message = self.prepare(home, ifExists=if_exists)
        assert message["alreadyComplete"] is is_complete
        if is_complete:
            (artifact,) = message["artifacts"]
            assert (artifact["type"], artifact["uri"]) == ("adapter", "pvc://models/faq")
            assert (len(artifact["sha256"]), artifact["sizeBytes"]) == (64, 7)
            assert not (home / "workspace").exists()

    def test_another_spec_is_in_the_way(self, home):
        self.publish(home, specDigest="sha256:x")
        error = refusal(make_config(home))
        assert (error.reason, error.field) == (Reason.OUTPUT_EXISTS, "spec.output.uri")
        assert "already holds the result of another spec; choose another folder or set ifExists" in error.message

    @pytest.mark.parametrize("if_exists", ["Fail", "Skip"])
    def test_foreign_files_are_in_the_way(self, home, if_exists):
        (home / "models" / "faq").mkdir(parents=True)
        (home / "models" / "faq" / "thesis.doc").touch()
        error = refusal(make_config(home, {"output.ifExists": if_exists}))
        assert "files that are no complete result" in error.message


@pytest.mark.parametrize(
    ("documents", "fraction", "count"),
    [(100, 0.0, 0), (100, 0.02, 2), (10, 0.01, 1), (1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 2)],
)
def test_validation_split(documents, fraction, count):
    rows = validation_rows(documents, fraction, seed=7)
    assert len(rows) == count
    assert rows <= frozenset(range(documents))
    assert rows == validation_rows(documents, fraction, seed=7)


def test_without_torch(home):
    """torch cannot be imported in an NPU image on a pod without an NPU; prepare does without it."""
    code = "import json, sys; from runtime.builders import make_config; from ascend_runtime.prepare import prepare\n"
    code += f"from pathlib import Path; prepare(make_config(Path({str(home)!r}))); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=120)
    assert read_json(home / "workspace" / "data" / "current.json")["specDigest"] == "sha256:spec"
