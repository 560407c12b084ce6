from __future__ import annotations

import pytest
from ascend_runtime.data.formats import BadRow, parse_row


def turns(*pairs):
    return tuple({"role": role, "content": content} for role, content in pairs)


@pytest.mark.parametrize(
    ("format_name", "row", "want"),
    [
        pytest.param(
            "alpaca",
            {"instruction": "Hi?", "output": "Ho."},
            turns(("user", "Hi?"), ("assistant", "Ho.")),
            id="alpaca-without-input",
        ),
        pytest.param(
            "alpaca",
            {"instruction": "Add.", "input": "1 and 2", "output": "3"},
            turns(("user", "Add.\n1 and 2"), ("assistant", "3")),
            id="alpaca-input-on-a-new-line",
        ),
        pytest.param(
            "alpaca",
            {"instruction": "Add.", "input": None, "output": "3", "system": "Be brief."},
            turns(("system", "Be brief."), ("user", "Add."), ("assistant", "3")),
            id="alpaca-system-and-null-input",
        ),
        pytest.param(
            "alpaca",
            {"instruction": "And?", "output": "c", "history": [["q", "a"]]},
            turns(("user", "q"), ("assistant", "a"), ("user", "And?"), ("assistant", "c")),
            id="alpaca-history",
        ),
        pytest.param(
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            turns(("system", "s"), ("user", "q"), ("assistant", "a")),
            id="sharegpt",
        ),
        pytest.param(
            "openai",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            turns(("user", "q"), ("assistant", "a")),
            id="openai",
        ),
    ],
)
def test_conversations(format_name, row, want):
    assert parse_row(row, format_name).turns == want


def test_plain_text():
    assert parse_row({"text": "once upon"}, "text").text == "once upon"


@pytest.mark.parametrize(
    ("format_name", "row", "sentence"),
    [
        pytest.param("alpaca", ["a"], "is a list, not an object", id="not-an-object"),
        pytest.param("alpaca", {"instruction": "q"}, "no answer (field output is missing)", id="answer-missing"),
        pytest.param("alpaca", {"instruction": "q", "output": ""}, "no answer (field output is empty)", id="empty"),
        pytest.param("alpaca", {"instruction": "q", "output": " \n"}, "no answer (field output is blank)", id="blank"),
        pytest.param("alpaca", {"instruction": "q", "output": None}, "no answer (field output is empty)", id="null"),
        pytest.param("alpaca", {"instruction": "q", "output": 3}, "field output is a number, not text", id="number"),
        pytest.param("alpaca", {"output": "a"}, "no question (field instruction is missing)", id="no-question"),
        pytest.param("alpaca", {"instruction": "q", "input": [], "output": "a"}, "field input is a list", id="input"),
        pytest.param(
            "alpaca", {"instruction": "\ud800", "output": "a"}, "half of a surrogate pair", id="lone-surrogate"
        ),
        pytest.param(
            "alpaca", {"instruction": "q", "output": "a", "history": [["x"]]}, "field history[0] is no pair", id="pair"
        ),
        pytest.param("sharegpt", {"conversations": {}}, "is an object, not a list of messages", id="no-list"),
        pytest.param(
            "sharegpt",
            {"conversations": [{"from": "tool", "value": "x"}]},
            "conversations[0].from is 'tool'",
            id="role",
        ),
        pytest.param(
            "sharegpt", {"conversations": [{"from": "human", "value": "x"}]}, "no answer (the last turn", id="no-reply"
        ),
        pytest.param(
            "openai",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]},
            "no answer (field messages[1].content is empty)",
            id="empty-reply",
        ),
        pytest.param(
            "openai",
            {"messages": [{"role": "assistant", "content": "a"}]},
            "turn 1 is of role assistant",
            id="assistant-first",
        ),
        pytest.param("openai", {"messages": []}, "no answer", id="no-messages"),
        pytest.param("text", {"text": ""}, "no text (field text is empty)", id="no-text"),
    ],
)
def test_bad_rows(format_name, row, sentence):
    with pytest.raises(BadRow) as caught:
        parse_row(row, format_name)
    assert sentence in str(caught.value)
