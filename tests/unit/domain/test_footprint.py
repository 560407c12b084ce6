"""Memory against published numbers; each row names where its number is from."""

import sys
from pathlib import Path

import pytest
from ascend_jobs.domain.accelerators import FAMILIES, chip_hbm
from ascend_jobs.domain.footprint import (
    GIB,
    ServingShape,
    TrainingShape,
    checkpoint_bytes,
    kv_bytes_per_token,
    output_bytes,
    serving_footprint,
    training_footprint,
)
from ascend_jobs.domain.modelfacts import FactsMissing, facts_from_config, facts_from_inspection

sys.path.insert(0, str(Path(__file__).parent))
import model_configs as m


def terms(found):
    return {term.name: term.bytes for term in found.terms}


@pytest.mark.parametrize(
    ("config", "want"),
    [  # totals that the models' pages on Hugging Face show for their safetensors
        pytest.param(m.QWEN25_7B, 7_615_616_512, id="Qwen2.5-7B"),
        pytest.param(m.QWEN25_05B, 494_032_768, id="Qwen2.5-0.5B"),
        pytest.param(m.QWEN25_72B, 72_706_203_648, id="Qwen2.5-72B"),
        pytest.param(m.QWEN3_8B, 8_190_735_360, id="Qwen3-8B"),
        pytest.param(m.LLAMA31_8B, 8_030_261_248, id="Llama-3.1-8B"),
        pytest.param(m.LLAMA2_7B, 6_738_415_616, id="Llama-2-7B"),
        pytest.param(m.MIXTRAL_8X7B, 46_702_792_704, id="Mixtral-8x7B"),
        pytest.param(m.SMOLLM2_135M, 134_515_008, id="SmolLM2-135M"),
    ],
)
def test_parameters(config, want):
    assert facts_from_config(config).parameters == want


@pytest.mark.parametrize(
    ("config", "want"),
    [
        pytest.param(m.QWEN25_7B, 57_344, id="Qwen2.5-7B: 2 x 28 layers x 4 heads x 128 x 2 bytes"),
        pytest.param(m.OPT_13B, 819_200, id="OPT-13B: 800 KB, Kwon et al. 2023, section 3.2"),
        pytest.param(m.LLAMA31_8B, 131_072, id="Llama-3.1-8B: 128 KiB"),
        pytest.param(m.DEEPSEEK_V3, 70_272, id="DeepSeek-V3: 70.272 KB, Zhao et al. (ISCA 2025), table 1"),
        pytest.param(m.QWEN25_72B, 327_680, id="Qwen2.5-72B: 327.680 KB, the same table"),
    ],
)
def test_cache_of_a_token(config, want):
    assert kv_bytes_per_token(facts_from_config(config, parameters=1)) == want


def test_cache_is_shared_until_each_npu_has_a_head():
    facts = facts_from_config(m.QWEN25_7B)
    assert [kv_bytes_per_token(facts, tensor=n) for n in (1, 2, 4, 8)] == [57_344, 28_672, 14_336, 14_336]
    assert kv_bytes_per_token(facts, pipeline=2) == 28_672
    assert kv_bytes_per_token(facts_from_config(m.DEEPSEEK_V3, parameters=1), tensor=8) == 70_272


@pytest.mark.parametrize(
    ("config", "rank", "targets", "want"),
    [
        pytest.param(m.LLAMA2_7B, 8, ("q_proj", "v_proj"), 4_194_304, id="Llama-2-7B, r=8 on q and v: peft's README"),
        pytest.param(m.SMOLLM2_135M, 8, (), 2_442_240, id="SmolLM2-135M, r=8 all-linear: counted by peft in a run"),
    ],
)
def test_lora(config, rank, targets, want):
    assert facts_from_config(config).lora_parameters(rank, targets) == want


def test_activations_of_a_layer_are_those_of_the_paper():
    """Korthikanti et al. 2022, equation 1, without the attention matrix: 34 x s x b x h."""
    facts = facts_from_config(m.GPT3_175B, parameters=175_000_000_000)
    found = training_footprint(facts, TrainingShape(64, full=True, batch=1, length=2048))
    assert terms(found)["activations"] == 96 * 34 * 2048 * 1 * 12288


def test_full_training_takes_18_bytes_a_parameter():
    """ZeRO, 3.1: AdamW in mixed precision takes 16 bytes (2 + 2 + 12); gradients of 32 bits make it 18."""
    facts = facts_from_config(m.QWEN25_7B)
    found = terms(training_footprint(facts, TrainingShape(64, full=True)))
    states = sum(found[name] for name in ("weights", "weights cast", "gradients", "optimizer"))
    assert states == 18 * facts.parameters
    exact = terms(training_footprint(facts, TrainingShape(64, full=True, compute_bytes=4)))
    assert "weights cast" not in exact
    assert sum(exact[name] for name in ("weights", "gradients", "optimizer")) == 16 * facts.parameters


def test_full_training_of_7b_does_not_fit_and_lora_does():
    facts = facts_from_config(m.QWEN25_7B)
    full = training_footprint(facts, TrainingShape(64, full=True))
    assert not full.fits
    assert full.advice == ("spec.training.method lora",)
    lora = training_footprint(facts, TrainingShape(64))
    assert lora.fits
    assert lora.advice == ()
    assert terms(lora)["weights"] == 2 * facts.parameters


def test_advice_of_training_is_true():
    facts = facts_from_config(m.QWEN25_7B)
    shape = TrainingShape(64, batch=8, length=4096)
    found = training_footprint(facts, shape)
    assert not found.fits
    batch, length = (int(text.split()[-1]) for text in found.advice)
    assert training_footprint(facts, TrainingShape(64, batch=batch, length=4096)).fits
    assert not training_footprint(facts, TrainingShape(64, batch=batch + 1, length=4096)).fits
    assert training_footprint(facts, TrainingShape(64, batch=8, length=length)).fits
    assert not training_footprint(facts, TrainingShape(64, batch=8, length=length + 256)).fits


def test_sizes_on_disk():
    facts = facts_from_config(m.SMOLLM2_135M)
    assert output_bytes(facts, TrainingShape(64)) == 4 * 2_442_240  # the adapter of the demo: 9.8 MB
    assert checkpoint_bytes(facts, TrainingShape(64)) == 12 * 2_442_240
    assert output_bytes(facts, TrainingShape(64, full=True)) == 2 * facts.parameters


@pytest.mark.parametrize(
    ("config", "hbm", "npus", "fits"),
    [
        pytest.param(m.QWEN25_7B, 64, 1, True, id="7B on one 910B3"),
        pytest.param(m.QWEN25_7B, 32, 1, True, id="7B on one 910B4"),
        pytest.param(m.QWEN25_72B, 64, 1, False, id="72B on one"),
        pytest.param(m.QWEN25_72B, 64, 2, False, id="72B on two: 135 GiB of weights"),
        pytest.param(m.QWEN25_72B, 64, 4, True, id="72B on four: as vLLM-Ascend's and MindIE's guides have it"),
        pytest.param(m.QWEN25_72B, 32, 4, False, id="72B on four with 32 GiB"),
        pytest.param(m.QWEN25_72B, 32, 8, True, id="72B on eight with 32 GiB"),
    ],
)
def test_serving_fits(config, hbm, npus, fits):
    found = serving_footprint(facts_from_config(config), ServingShape(hbm, tensor=npus))
    assert found.fits is fits
    assert bool(found.notes) is fits
    assert all(term.bytes > 0 and term.formula for term in found.terms)


def test_advice_of_serving_is_true():
    facts = facts_from_config(m.QWEN25_7B)
    shape = ServingShape(32, max_length=1_000_000)
    found = serving_footprint(facts, shape)
    length = int(found.advice[0].split()[-1])
    assert serving_footprint(facts, ServingShape(32, max_length=length)).fits
    assert not serving_footprint(facts, ServingShape(32, max_length=length + 256)).fits
    assert found.advice[1] == "4 NPUs a replica (tensor 4)"
    assert serving_footprint(facts, ServingShape(32, tensor=4, max_length=1_000_000)).fits
    assert not serving_footprint(facts, ServingShape(32, tensor=2, max_length=1_000_000)).fits
    big = serving_footprint(facts_from_config(m.QWEN25_72B), ServingShape(64, tensor=2))
    assert big.advice == ("4 NPUs a replica (tensor 4)", "weights quantized to 8 bits (spec.model.quantization)")


def test_how_many_requests_fit_is_said():
    found = serving_footprint(facts_from_config(m.QWEN25_7B), ServingShape(64, max_length=32768, max_concurrency=256))
    assert found.notes[0].startswith("23 requests of maxLength 32,768")  # (57.6 - 16.2) GiB / 1.75 GiB
    assert "256 the others wait" in found.notes[0]


@pytest.mark.parametrize(
    ("chip", "want"),
    [("910B3", 64), ("Ascend910B3", 64), ("910B4", 32), ("910B4-1", 64), ("910ProB", 32), ("A100", None), ("", None)],
)
def test_hbm_of_chips(chip, want):
    assert chip_hbm(chip) == want


def test_each_family_has_its_hbm():
    assert {family.hbm_gib for family in FAMILIES} == {32, 64}
    assert GIB == 1 << 30


def test_what_is_missing_is_named():
    with pytest.raises(FactsMissing, match="num_hidden_layers"):
        facts_from_config({**m.QWEN25_7B, "num_hidden_layers": None})
    with pytest.raises(FactsMissing, match="model_type deepseek_v3"):
        facts_from_config(m.DEEPSEEK_V3)
    with pytest.raises(FactsMissing, match="hidden_size"):
        facts_from_config({"hidden_size": "many"})
    with pytest.raises(FactsMissing, match="bytesPerParameter"):
        facts_from_inspection({**INSPECTED, "bytesPerParameter": 0})


INSPECTED = {
    "architecture": "Qwen2ForCausalLM", "parameters": 7_615_616_512, "layers": 28, "hiddenSize": 3584, "heads": 28,
    "kvHeads": 4, "headDim": 128, "vocabSize": 152064, "intermediateSize": 18944, "bytesPerParameter": 2.0,
    "maxPositions": 32768, "sizeBytes": 15_231_233_024, "sha256": "0" * 64,
}  # fmt: skip


def test_inspection_and_config_say_the_same():
    assert facts_from_inspection(INSPECTED) == facts_from_config(m.QWEN25_7B)


def test_text_part_of_a_multimodal_config_counts():
    nested = {"architectures": ["X"], "model_type": "x_vl", "text_config": m.QWEN25_7B}
    assert facts_from_config(nested).parameters == 7_615_616_512
