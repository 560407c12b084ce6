"""The engines' tables: sound, and as the sources say for what is well known."""

import pytest
from ascend_jobs.domain.engines import mindie_keys, nearest, release, vllm_arguments

RELEASES = [(0, 11), (0, 13), (0, 18), (0, 23), (0, 32)]


@pytest.mark.parametrize("of", RELEASES)
def test_what_every_release_of_vllm_has(of):
    known = vllm_arguments(of)
    assert {"max-model-len", "max-num-seqs", "tensor-parallel-size", "enable-lora", "lora-modules"} <= set(known)
    assert known["enable-prefix-caching"] == "flag"
    assert known["additional-config"] == "json"
    assert set(known.values()) == {"flag", "number", "text", "list", "json"}


@pytest.mark.parametrize(
    ("name", "has"),
    [
        pytest.param("nnodes", [False, True, True, True, True], id="nnodes"),
        pytest.param("swap-space", [True, True, False, False, False], id="swap-space"),
        pytest.param("shutdown-timeout", [False, False, True, True, True], id="shutdown-timeout"),
        pytest.param("task", [True, False, False, False, False], id="task"),
    ],
)
def test_what_came_and_went(name, has):
    assert [name in vllm_arguments(of) for of in RELEASES] == has


def test_keys_of_mindie_are_told_apart_by_name_alone():
    for of in ((1, 0), (2, 0), (2, 1), (2, 3), (3, 0)):
        keys = mindie_keys(of)
        assert len(keys) > 40
        for key in keys.values():
            if key.kind == "integer" and key.default is not None:
                assert key.low is not None and key.default >= key.low
                assert key.high is None or key.default <= key.high


def test_logs_are_configured_by_the_first_release_alone():
    assert "logLevel" in mindie_keys((1, 0))
    assert "logLevel" not in mindie_keys((2, 0))
    assert "tokenTimeout" not in mindie_keys((1, 0))
    assert "npuUsageThreshold" in mindie_keys((26, 0))


@pytest.mark.parametrize(
    ("text", "want"),
    [("v0.23.0rc1", (0, 23)), ("0.11", (0, 11)), ("2.1.RC1", (2, 1)), (None, (9, 9)), ("newest", None), ("", None)],
)
def test_release(text, want):
    assert release(text, (9, 9)) == want


def test_nearest():
    assert nearest("max-num-sequences", ["max-num-seqs", "seed"]) == "; did you mean max-num-seqs?"
    assert nearest("zzz", ["seed"]) == ""
