from __future__ import annotations

import pytest
from ascend_runtime.data.encode import IGNORED, Encoder
from ascend_runtime.data.formats import BadRow, Document
from ascend_runtime.errors import InvalidInput

PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
PLAIN += "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
# Like Qwen3's: the last answer carries an empty thought, earlier ones do not.
THINKING = "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if loop.last and m['role'] == 'assistant' %}"
THINKING += "{{ '(thought)' }}{% endif %}{{ m['content'] + '<|end|>\n' }}{% endfor %}"
THINKING += "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
UNSTABLE = "{% if add_generation_prompt %}A{% else %}B{% endif %}{{ messages[-1]['content'] }}"
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN


def talk(*contents, system=None):
    turns = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(contents)]
    return Document(tuple([{"role": "system", "content": system}] if system else []) + tuple(turns))


@pytest.fixture
def tokenizer(toy):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(toy / "model")


def encode(tokenizer, document, max_length=64):
    return Encoder(tokenizer, max_length).encode([document])[0]


def learned(tokenizer, sample):
    """Return the learned text, one string for each run of learned tokens."""
    runs, run = [], []
    for token, label in zip(sample.ids, sample.labels, strict=True):
        assert label in (token, IGNORED)
        if label == IGNORED and run:
            runs, run = [*runs, tokenizer.decode(run)], []
        elif label != IGNORED:
            run.append(token)
    return [*runs, tokenizer.decode(run)] if run else runs


@pytest.mark.parametrize(
    ("document", "want"),
    [
        pytest.param(talk("Where?", "Here."), ["Here.<|end|>"], id="answer-and-end-token"),
        pytest.param(talk("Where?", "Here.", system="Be brief."), ["Here.<|end|>"], id="system-is-masked"),
        pytest.param(talk("a", "b", "c", "d"), ["b<|end|>", "d<|end|>"], id="every-answer"),
        pytest.param(talk("Where? 🙂", "Hier: ü🙂é"), ["Hier: ü🙂é<|end|>"], id="several-tokens-a-character"),
        pytest.param(talk("a", "  spaced \n"), ["  spaced \n<|end|>"], id="spaces-of-the-answer"),
        pytest.param(talk("<|end|>", "b"), ["b<|end|>"], id="special-token-in-the-question"),
        pytest.param(Document(text="once upon"), ["once upon<|end|>"], id="text"),
    ],
)
def test_what_is_learned(tokenizer, document, want):
    assert learned(tokenizer, encode(tokenizer, document)) == want


def test_prompt_is_what_inference_sees(tokenizer):
    sample = encode(tokenizer, talk("Where?", "Here."))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert sample.ids[: len(prompt)] == prompt
    assert set(sample.labels[: len(prompt)]) == {IGNORED}


def test_a_template_without_end_token_gets_one(tokenizer):
    tokenizer.chat_template = PLAIN
    sample = encode(tokenizer, talk("a", "b", "c", "d"))
    assert learned(tokenizer, sample) == [" b", "d<|end|>"]
    assert sample.ids[-1] == tokenizer.eos_token_id


def test_without_any_end_token_the_model_is_refused(tokenizer):
    tokenizer.chat_template, tokenizer.eos_token = PLAIN, None
    with pytest.raises(InvalidInput, match="answers would never end"):
        encode(tokenizer, talk("a", "b"))


def test_earlier_answers_in_another_form_are_not_learned(tokenizer):
    tokenizer.chat_template = THINKING
    assert learned(tokenizer, encode(tokenizer, talk("a", "b", "c", "d"))) == ["(thought)d<|end|>"]


def test_a_template_that_changes_its_mind(tokenizer):
    tokenizer.chat_template = UNSTABLE
    tokenizer.eos_token = "<|end|>"
    found = encode(tokenizer, talk("a", "b"))
    assert isinstance(found, BadRow)
    assert "renders the prompt differently" in str(found)


def test_a_template_that_refuses(tokenizer):
    tokenizer.chat_template = REFUSING
    found = encode(tokenizer, talk("a", "b", system="s"))
    assert "refuses it: no system" in str(found)


def test_truncation_cuts_the_answer(tokenizer):
    whole = encode(tokenizer, talk("Where?", "Here and there."))
    cut = encode(tokenizer, talk("Where?", "Here and there."), max_length=len(whole.ids) - 3)
    assert (cut.ids, cut.labels) == (whole.ids[:-3], whole.labels[:-3])
    assert (whole.is_truncated, cut.is_truncated, cut.is_learnable) == (False, True, True)


def test_a_prompt_longer_than_all_leaves_nothing_to_learn(tokenizer):
    assert not encode(tokenizer, talk("Where is the red pod and where is the blue one?", "Here."), 8).is_learnable


def test_settings_of_the_tokenizers_file_are_set_aside(tokenizer):
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    assert learned(tokenizer, encode(tokenizer, talk("Where?", "Here."))) == ["Here.<|end|>"]
