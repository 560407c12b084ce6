"""The facade as OpenAI's own client sees it."""

from __future__ import annotations

import json
import math
import re

import openai
import pytest
from runtime.serve.models import greedy

TALK = [{"role": "user", "content": "Where is the red pod?"}]


def ask(client, **changes):
    return client.chat.completions.create(
        **{"model": "faq", "messages": TALK, "max_tokens": 8, "temperature": 0, **changes}
    )


def _without_special(text):
    return re.sub(r"<\|\w+\|>", "", text)


def complete(client, **changes):
    return client.completions.create(
        **{"model": "faq", "prompt": "The red pod", "max_tokens": 8, "temperature": 0, **changes}
    )


def test_chat(client):
    answer = ask(client)
    choice = answer.choices[0]
    assert answer.model == "faq"
    assert (choice.finish_reason, choice.message.role) == ("length", "assistant")
    assert choice.message.content
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


def test_chat_answers_are_those_of_transformers(client, vllm, model):
    """The whole way: template, tokens, weights, sampling."""
    tokens = vllm.post("/tokenize", {"model": "faq", "messages": TALK})[1]["tokens"]
    made = ask(client, max_tokens=12, logprobs=True)
    raw = "".join(entry.token for entry in made.choices[0].logprobs.content)
    wanted = greedy(model, tokens, 12)
    spelled = vllm.post("/detokenize", {"tokens": wanted})[1]["prompt"]
    assert raw == spelled


def test_stream_is_the_same_answer_in_pieces(client):
    whole = ask(client).choices[0].message.content
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks[:-1]) == whole
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len(chunks) > 8, "every token has a chunk of its own"


def test_usage_in_every_chunk(client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(complete(client, stream=True, stream_options=options))
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 8


def test_logprobs_of_chat(client):
    content = ask(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(content) == 8
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob), "greedy: the likeliest was taken"
        assert all(math.exp(top.logprob) <= 1 for top in entry.top_logprobs)


def test_logprobs_without_alternatives(client):
    content = ask(client, logprobs=True).choices[0].logprobs.content
    assert [entry.top_logprobs for entry in content] == [[]] * 8


def test_logprobs_of_completions(client):
    found = complete(client, logprobs=2).choices[0].logprobs
    assert len(found.tokens) == len(found.token_logprobs) == len(found.top_logprobs) == len(found.text_offset) == 8
    assert found.text_offset[0] == 0
    assert found.text_offset[1] == len(found.tokens[0])
    assert found.token_logprobs[0] == max(found.top_logprobs[0].values())


def test_echo_scores_the_prompt_as_transformers_does(client, vllm, model):
    """What log-likelihood evaluation asks for."""
    import torch
    from transformers import AutoModelForCausalLM

    tokens = vllm.post("/tokenize", {"prompt": "The red pod is in place 7"})[1]["tokens"]
    answer = complete(client, prompt=tokens, max_tokens=0, echo=True, logprobs=1).choices[0]
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([tokens])).logits[0].log_softmax(-1)
    wanted = [float(logits[place, token]) for place, token in enumerate(tokens[1:])]
    assert answer.text == "The red pod is in place 7"
    assert answer.logprobs.token_logprobs[0] is None
    assert answer.logprobs.token_logprobs[1:] == pytest.approx(wanted, abs=0.02)
    assert answer.finish_reason == "length"


def test_echo_in_a_stream(client):
    chunks = list(complete(client, prompt="The red", max_tokens=2, echo=True, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks).startswith("The red")


def test_several_prompts(client):
    prompts = ["The red pod", "Where is the node", "The red pod"]
    whole = [choice.text for choice in complete(client, prompt=prompts).choices]
    assert whole[0] == whole[2] != whole[1]
    pieces = ["", "", ""]
    for chunk in complete(client, prompt=prompts, stream=True):
        pieces[chunk.choices[0].index] += chunk.choices[0].text
    assert pieces == whole


def test_stop_string(client):
    text = complete(client, max_tokens=30).choices[0].text
    stop = text[10:13]
    answer = complete(client, max_tokens=30, stop=[stop, "never said"]).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.text == text[: text.index(stop)]
    assert answer.model_extra["stop_reason"] == stop


def test_seed_repeats_an_answer(client):
    one, two = (complete(client, temperature=1.5, seed=11, max_tokens=20).choices[0].text for _ in range(2))
    other = complete(client, temperature=1.5, seed=12, max_tokens=20).choices[0].text
    assert one == two != other


def test_logit_bias_and_json(client, vllm):
    token = vllm.post("/tokenize", {"prompt": "blue"})[1]["tokens"][0]
    assert complete(client, logit_bias={token: 100}, max_tokens=2).choices[0].text
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes"]}}}
    text = ask(client, response_format=form, max_tokens=60).choices[0].message.content
    assert json.loads(text) == "yes"


def test_adapter_is_a_model_of_its_own(client, vllm, model, adapter, adapter_2):
    """In turns, since what the cache holds of a prompt under one adapter means nothing under another."""
    cards = {card.id: card for card in client.models.list().data}
    assert list(cards) == ["faq", "faq-2", "tuned", "tuned-2"]
    assert cards["tuned"].model_extra["parent"] == "faq"
    tokens = vllm.post("/tokenize", {"prompt": "The red pod"})[1]["tokens"]
    folders = {"tuned": adapter, "faq": None, "tuned-2": adapter_2, "faq-2": None}
    for name, folder in [*folders.items(), *list(folders.items())[::-1]]:
        text = vllm.post("/detokenize", {"tokens": greedy(model, tokens, 8, folder)})[1]["prompt"]
        assert complete(client, model=name, prompt=tokens).choices[0].text == _without_special(text)


def test_parts_of_text(client):
    parts = [{"type": "text", "text": "Where is"}, {"type": "text", "text": "the pod?"}]
    assert ask(client, messages=[{"role": "user", "content": parts}]).usage.prompt_tokens > 5


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        pytest.param({"model": "other"}, 404, "model", id="unknown-model"),
        pytest.param({"messages": []}, 400, None, id="no-messages"),
        pytest.param({"messages": [{"role": "user", "content": 7}]}, 400, None, id="content"),
        pytest.param({"messages": [{"content": "hi"}]}, 400, None, id="no-role"),
        pytest.param({"max_tokens": 0}, 400, "max_tokens", id="no-tokens"),
        pytest.param({"max_tokens": 9000}, 400, "max_tokens", id="more-than-fit"),
        pytest.param({"messages": [{"role": "user", "content": "x " * 9000}]}, 400, "input_tokens", id="long-prompt"),
        pytest.param({"temperature": -1}, 400, "temperature", id="temperature"),
        pytest.param({"temperature": "hot"}, 400, None, id="type"),
        pytest.param({"top_p": 0}, 400, "top_p", id="top-p"),
        pytest.param({"n": 2}, 400, "n", id="several-answers"),
        pytest.param({"top_logprobs": 2}, 400, "top_logprobs", id="top-logprobs-alone"),
        pytest.param({"logprobs": True, "top_logprobs": 21}, 400, "logprobs", id="too-many-logprobs"),
        pytest.param({"stream_options": {"include_usage": True}}, 400, "stream_options", id="options-without-stream"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools", id="tools"),
        pytest.param({"response_format": {"type": "xml"}}, 400, None, id="format"),
    ],
)
def test_wrong_requests(client, changes, status, param):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **changes)
    error = caught.value.body
    assert (caught.value.status_code, error["param"], error["code"]) == (status, param, status)
    assert error["type"] in {400: ("BadRequestError", "Bad Request"), 404: ("NotFoundError",)}[status]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100000, b'{"messages": "hi"}', b"\xff"])
def test_bodies_that_are_no_request(vllm, body):
    status, answer = vllm.post("/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (400, 400)


@pytest.mark.parametrize("prompt", ["", [], [1, -1], [1, 400], [[1], []], 7, [True, "x"]])
def test_wrong_prompts(vllm, prompt):
    assert vllm.post("/v1/completions", {"model": "faq", "prompt": prompt})[0] == 400


def test_unknown_route(vllm):
    assert vllm.get("/v1/nothing")[0] == 404
    assert vllm.get("/v1/completions")[0] == 405
