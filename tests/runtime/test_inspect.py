"""Inspecting a model and its adapters: facts, digests, and what is refused, each with its field."""

import json
import shutil
import struct
import time
from pathlib import Path

import pytest
from ascend_jobs.domain.modelfacts import facts_from_config, facts_from_inspection
from ascend_runtime.__main__ import main
from ascend_runtime.errors import InvalidInput
from ascend_runtime.inspect import Inspected, inspect


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]], *, fill: int = 0) -> None:
    """Write tensors of a dtype and shape, all bytes alike."""
    width = {"F32": 4, "BF16": 2, "I8": 1}
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = width[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * end)


def write_adapter(folder: Path, layers: dict[str, tuple[int, int]], *, rank: int = 4, **config: object) -> Path:
    """Write a LoRA adapter; layers by name: (outputs, inputs)."""
    folder.mkdir()
    tensors = {}
    for name, (outputs, inputs) in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = ("F32", [rank, inputs])
        tensors[f"base_model.model.{name}.lora_B.weight"] = ("F32", [outputs, rank])
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    settings = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": "pvc://models/base", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


Q = "model.layers.0.self_attn.q_proj"
FITTING = {Q: (64, 64), "model.layers.1.mlp.down_proj": (64, 128), "model.layers.1.self_attn.k_proj": (32, 64)}


def look(model: Path, **adapters: Path) -> dict:
    return inspect(Inspected(model, adapters))


def test_facts_of_the_toy(home, capsys):
    found = look(home / "model")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    facts = facts_from_inspection(found["model"])
    config = json.loads((home / "model" / "config.json").read_text())
    counted = facts_from_config(config)
    assert facts.parameters == counted.parameters  # what the headers hold is what the formula says
    assert facts.bytes_per_parameter == 4.0
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (2, 4, 2, 16)
    assert found["model"]["maxPositions"] == 256
    assert found["model"]["sizeBytes"] == (home / "model" / "model.safetensors").stat().st_size
    assert found["adapters"] == []


def test_command(home, tmp_path, capsys):
    adapter = write_adapter(home / "sql", FITTING, rank=8)
    log = tmp_path / "log"
    code = main(["inspect", str(home / "model"), "--adapter", f"sql={adapter}", "--termination-log", str(log)])
    assert code == 0
    told = json.loads(log.read_text())
    assert told["adapters"] == [
        {"name": "sql", "rank": 8, "sizeBytes": (adapter / "adapter_model.safetensors").stat().st_size}
    ]
    assert told["adapterTotal"]["maxRank"] == 8


def test_wrong_input_exits_65_with_the_given_field(home, tmp_path, capsys):
    log = tmp_path / "log"
    (home / "model" / "config.json").unlink()
    arguments = ["inspect", str(home / "model"), "--field", "spec.canary.model.uri", "--termination-log", str(log)]
    assert main(arguments) == 65
    told = json.loads(log.read_text())
    assert (told["reason"], told["field"]) == ("ModelInvalid", "spec.canary.model.uri")
    assert "config.json" in told["message"]


def test_wrong_adapter_exits_65_with_its_own_field(home, tmp_path):
    log = tmp_path / "log"
    good, bad = write_adapter(home / "good", FITTING), write_adapter(home / "bad", {Q: (96, 64)})
    arguments = ["inspect", str(home / "model"), "--adapter", f"a={good}", "--adapter", f"b={bad}"]
    arguments += ["--adapter-field", "spec.model.fromJob", "--termination-log", str(log)]
    assert main(arguments) == 65
    told = json.loads(log.read_text())
    assert (told["reason"], told["field"]) == ("AdapterInvalid", "spec.model.adapters[1].uri")
    assert "adapter b: " in told["message"]
    assert "64 x 64 in the model and 96 x 64 in the adapter; it was made for pvc://models/base" in told["message"]


def cut(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def change(name: str, **changes: object):
    def apply(model: Path) -> None:
        path = model / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def shard(model: Path, *, lost: str = "", listed: str = "") -> None:
    """Spread the weights over two files with an index."""
    from safetensors.numpy import load_file, save_file

    whole = load_file(model / "model.safetensors")
    names = sorted(whole)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    weight_map = {name: file for file, part in parts.items() for name in part}
    if listed:
        weight_map[listed] = "model-00001-of-00002.safetensors"
    for file, part in parts.items():
        save_file({name: whole[name] for name in part if name != lost}, model / file)
    (model / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


LAST = "model.layers.1.self_attn.v_proj.weight"


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        pytest.param(lambda model: shutil.rmtree(model), "is no folder", id="absent"),
        pytest.param(cut, "model.safetensors is cut short", id="cut-short"),
        pytest.param(lambda m: (m / "model.safetensors").write_bytes(b"x" * 40), "no safetensors file", id="nonsense"),
        pytest.param(lambda m: (m / "model.safetensors").write_bytes(b""), "no safetensors file", id="empty"),
        pytest.param(lambda m: (m / "tokenizer.json").unlink(), "tokenizer is missing", id="tokenizer"),
        pytest.param(change("config.json", num_hidden_layers=None), "num_hidden_layers", id="config"),
        pytest.param(change("config.json", hidden_size=128), "says 400 x 128", id="other-config"),
        pytest.param(change("config.json", num_hidden_layers=4), "weights of layer 2 are missing (2 of 4", id="layers"),
        pytest.param(lambda m: shard(m, lost=LAST), f"has no weight {LAST}", id="shard-without-a-weight"),
        pytest.param(lambda m: shard(m, listed="model.x"), "has no weight model.x", id="index-of-another"),
        pytest.param(
            lambda m: (shard(m), (m / "model-00002-of-00002.safetensors").unlink()), "1 of 2", id="shard-lost"
        ),
        pytest.param(lambda m: (m / "manifest.json").write_text("{}"), "manifest.json", id="manifest"),
        pytest.param(
            lambda m: write_safetensors(m / "model.safetensors", {"a": ("F32", [0])}),
            "weights are empty",
            id="no-values",
        ),
    ],
)
def test_models_that_are_refused(home, break_it, words):
    break_it(home / "model")
    with pytest.raises(InvalidInput) as error:
        look(home / "model")
    assert error.value.reason == "ModelInvalid"
    assert words in error.value.message, error.value.message


def test_shards_are_as_good_as_one_file(home):
    whole = look(home / "model")["model"]
    shard(home / "model")
    parts = look(home / "model")["model"]
    assert parts["parameters"] == whole["parameters"]
    assert parts["sha256"] != whole["sha256"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param({"layers": FITTING, "peft_type": "IA3"}, "only LORA", id="kind"),
        pytest.param({"layers": FITTING, "use_dora": True}, "DoRA", id="dora"),
        pytest.param({"layers": FITTING, "modules_to_save": ["lm_head"]}, "modules_to_save", id="whole-layers"),
        pytest.param({"layers": {}}, "no lora_A weights", id="empty"),
        pytest.param({"layers": {"model.layers.7.mlp.up_proj": (128, 64)}}, "no layer model.layers.7", id="other-base"),
        pytest.param({"layers": {Q: (64, 32)}}, "64 x 64 in the model and 64 x 32", id="other-width"),
    ],
)
def test_adapters_that_are_refused(home, made, words):
    folder = write_adapter(home / "a", **made)
    with pytest.raises(InvalidInput) as error:
        look(home / "model", a=folder)
    assert (error.value.reason, error.value.field) == ("AdapterInvalid", "spec.model.adapters[0].uri")
    assert words in error.value.message


@pytest.mark.parametrize("lost", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapter_without_a_file(home, lost):
    folder = write_adapter(home / "a", FITTING)
    (folder / lost).unlink()
    with pytest.raises(InvalidInput, match=lost):
        look(home / "model", a=folder)


def test_adapter_that_is_still_being_copied(home):
    folder = write_adapter(home / "a", FITTING)
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InvalidInput, match="cut short") as error:
        look(home / "model", a=folder)
    assert error.value.reason == "AdapterInvalid"


def test_fit_is_not_judged_by_packed_weights(home):
    path = home / "model" / "model.safetensors"
    write_safetensors(path, {f"model.layers.{n}.self_attn.q_proj.weight": ("I8", [64, 8]) for n in range(2)})
    assert look(home / "model", a=write_adapter(home / "a", {Q: (64, 64)}))["adapters"][0]["rank"] == 4


@pytest.mark.parametrize(
    ("mark", "sound"),
    [
        pytest.param(lambda m: None, False, id="plain"),
        pytest.param(lambda m: (m / "quant_model_description.json").write_text("{}"), True, id="msmodelslim"),
        pytest.param(change("config.json", quantize="w8a8"), True, id="mindie"),
    ],
)
def test_quantized_weights(home, mark, sound):
    mark(home / "model")
    given = Inspected(home / "model", {}, "w8a8")
    if sound:
        assert inspect(given)
        return
    with pytest.raises(InvalidInput, match="msModelSlim"):
        inspect(given)


def test_digest_tells_two_fine_tunes_apart(home):
    path = home / "model" / "model.safetensors"
    first = look(home / "model")["model"]["sha256"]
    assert look(home / "model")["model"]["sha256"] == first
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert look(home / "model")["model"]["sha256"] != first


def test_message_stays_within_its_limit(home):
    folders = {f"{n:02d}-" + "x" * 124: write_adapter(home / f"a{n}", FITTING) for n in range(32)}
    found = inspect(Inspected(home / "model", folders))
    assert len(json.dumps(found)) <= 4096
    assert 5 < len(found["adapters"]) < 32
    assert found["adapterTotal"]["count"] == 32


def test_older_formats_are_only_counted(home, capsys):
    path = home / "model" / "model.safetensors"
    size = path.stat().st_size
    path.rename(home / "model" / "pytorch_model.bin")
    found = look(home / "model", a=write_adapter(home / "a", {Q: (96, 64)}))  # not known to be wrong
    assert found["model"]["sizeBytes"] == size
    assert found["model"]["bytesPerParameter"] == pytest.approx(4, rel=0.05)
    assert "only their presence was checked" in capsys.readouterr().out


def test_cost_does_not_grow_with_the_weights(home):
    """A sparse file of 80 GB: only headers and both ends are read."""
    path = home / "model" / "model.safetensors"
    rows = 10_000_000_000 // 64 * 2
    header = {"model.layers.0.x": {"dtype": "F32", "shape": [rows, 64], "data_offsets": [0, rows * 64 * 4]}}
    header |= {"model.layers.1.x": {"dtype": "F32", "shape": [0], "data_offsets": [rows * 64 * 4, rows * 64 * 4]}}
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + rows * 64 * 4)
    began = time.monotonic()
    assert look(home / "model")["model"]["parameters"] == rows * 64
    assert time.monotonic() - began < 5
