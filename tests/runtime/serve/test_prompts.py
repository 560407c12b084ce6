"""Tokens and templates are those of transformers; limits of the machine; which pod is the head."""

from __future__ import annotations

import pytest
from ascend_runtime.serve.convert.architecture import read_architecture
from ascend_runtime.serve.failures import CannotServe
from ascend_runtime.serve.prompts import NoPrompt, Prompts
from ascend_runtime.serve.ranks import is_head
from ascend_runtime.serve.resources import cpu_limit, fit, memory_limit, thread_count
from runtime.builders import make_table

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is the pod? 你好 <|end|>"}]
TEMPLATE = """{%- for message in messages -%}
    {%- if message['role'] == 'tool' %}{% continue %}{% endif %}
    {{ bos_token or '' }}[{{ message['role'] | upper }}] {{ message | tojson }}{{ eos_token }}
{% endfor -%}
{% if not messages %}{{ raise_exception('nothing said') }}{% endif %}{% generation %}x{% endgeneration %}"""


@pytest.mark.parametrize("answer", [True, False])
def test_conversation_is_that_of_transformers(toy, answer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(toy / "model")
    ours = Prompts(toy / "model")
    text = ours.render(TALK, answer=answer, extra={})
    assert text == theirs.apply_chat_template(TALK, tokenize=False, add_generation_prompt=answer)
    assert ours.encode(text, special=False) == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.decode(ours.encode(text, special=False)) == text


def test_template_has_what_templates_use(toy, tmp_path):
    from transformers import AutoTokenizer

    file = tmp_path / "t.jinja"
    file.write_text(TEMPLATE)
    theirs = AutoTokenizer.from_pretrained(toy / "model")
    talk = [*TALK, {"role": "tool", "content": "skipped"}]
    wanted = theirs.apply_chat_template(talk, chat_template=TEMPLATE, tokenize=False)
    assert Prompts(toy / "model", file).render(talk, answer=False, extra={}) == wanted
    with pytest.raises(NoPrompt, match="nothing said"):
        Prompts(toy / "model", file).render([], answer=False, extra={})


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__.__mro__ }}", "{{ messages[7].x }}", "{{ 1 / 0 }}", "{{ x.y }}"]
)
def test_hostile_templates_are_refused(toy, tmp_path, template):
    file = tmp_path / "t.jinja"
    file.write_text(template)
    with pytest.raises(NoPrompt):
        Prompts(toy / "model", file).render(TALK, answer=False, extra={})


def test_model_without_template(toy, tmp_path):
    (tmp_path / "tokenizer.json").write_text((toy / "model" / "tokenizer.json").read_text())
    with pytest.raises(NoPrompt, match="no chat template"):
        Prompts(tmp_path).render(TALK, answer=True, extra={})


@pytest.mark.parametrize(
    ("files", "cpus", "threads"),
    [
        pytest.param({"cpu.max": "400000 100000"}, 4.0, 3, id="v2"),
        pytest.param({"cpu.max": "150000 100000"}, 1.5, 1, id="at-least-one"),
        pytest.param({"cpu.max": "max 100000"}, 8.0, 7, id="v2-without-limit"),
        pytest.param({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0, 1, id="v1"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8.0, 7, id="v1-without-limit"),
        pytest.param({}, 8.0, 7, id="no-cgroup"),
    ],
)
def test_threads_follow_the_cpu_limit(tmp_path, monkeypatch, files, cpus, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    lay(tmp_path, files)
    assert (cpu_limit(tmp_path), thread_count(None, tmp_path), thread_count(5, tmp_path)) == (cpus, threads, 5)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param({"memory.max": "2147483648"}, 2 << 30, id="v2"),
        pytest.param({"memory/memory.limit_in_bytes": "1073741824"}, 1 << 30, id="v1"),
    ],
)
def test_memory_limit(tmp_path, files, limit):
    lay(tmp_path, files)
    assert memory_limit(tmp_path) == limit


@pytest.mark.parametrize("files", [{}, {"memory.max": "max"}, {"memory/memory.limit_in_bytes": "9223372036854771712"}])
def test_without_memory_limit_it_is_the_machine(tmp_path, files):
    lay(tmp_path, files)
    assert 1 << 28 < memory_limit(tmp_path) < 1 << 50


def lay(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n")


SMOLLM2 = {
    **{"architectures": ["LlamaForCausalLM"], "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576},
    **{"num_hidden_layers": 30, "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192},
}


def test_sequences_follow_the_memory_limit():
    architecture = read_architecture(SMOLLM2)
    assert architecture.kv_bytes_a_token == 23040
    weights = 270 << 20
    assert fit(architecture, weights, 2048, 8, 4 << 30).sequences == 8
    assert fit(architecture, weights, 8192, 8, 1 << 30).sequences == 1
    with pytest.raises(CannotServe, match=r"270 MiB for weights, 180 MiB for one sequence of 8192 tokens") as caught:
        fit(architecture, weights, 8192, 8, 800 << 20)
    assert (caught.value.code, caught.value.message["reason"]) == (1, "OutOfMemory")


HEAD, SECOND = ("10.1.0.1", (0, 1)), ("10.1.0.2", (2, 3))


@pytest.mark.parametrize(
    ("table", "address", "head"),
    [
        pytest.param(make_table(HEAD, SECOND), "10.1.0.1", True, id="head"),
        pytest.param(make_table(SECOND, HEAD), "10.1.0.2", False, id="order-does-not-matter"),
        pytest.param(make_table(HEAD), "10.1.0.1", True, id="one-pod"),
    ],
)
def test_head(tmp_path, table, address, head):
    (tmp_path / "hccl.json").write_text(table)
    assert is_head({"RANK_TABLE_FILE": str(tmp_path / "hccl.json"), "POD_IP": address}) is head
    assert is_head({"RANK_TABLE_FILE": str(tmp_path / "hccl.json"), "MIES_CONTAINER_IP": address}) is head


def test_head_without_a_table():
    assert is_head({})
    assert not is_head({}, node_rank=1)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param(make_table(HEAD, status="initializing"), "its status is initializing", id="initializing"),
        pytest.param(make_table(HEAD, server_count="2"), "server_count is 2, listed are 1", id="count"),
        pytest.param(make_table(("10.1.0.1", (1, 2))), "rank_ids are not 0 to 1", id="no-rank-0"),
        pytest.param(make_table(HEAD, ("10.1.0.2", (1, 2))), "each once", id="rank-twice"),
        pytest.param(make_table(("10.1.0.2", (0, 1))), "no server with container_ip 10.1.0.1", id="without-this-pod"),
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param('{"status": "completed"}', "server_list", id="no-servers"),
        pytest.param(None, "cannot be read", id="absent"),
    ],
)
def test_rank_tables_that_cannot_be_relied_upon(tmp_path, table, words):
    if table is not None:
        (tmp_path / "hccl.json").write_text(table)
    with pytest.raises(CannotServe) as caught:
        is_head({"RANK_TABLE_FILE": str(tmp_path / "hccl.json"), "POD_IP": "10.1.0.1"})
    assert words in str(caught.value)
    assert caught.value.message["reason"] == "RankTableInvalid"
