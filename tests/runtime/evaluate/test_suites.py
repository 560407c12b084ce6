"""Files of suites: what they mean, and what is wrong with them, with file, row and what to do."""

from __future__ import annotations

import pytest
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.command import read_command
from ascend_runtime.evaluate.subjects import CEVAL, MMLU
from ascend_runtime.evaluate.suites import load_suite
from ascend_runtime.evaluate.suites.question import Rule
from runtime.evaluate.builders import EXAMPLES, make_suite_config, write_csv, write_jsonl

HEADER = "id,question,A,B,C,D,answer"
ROW = "0,1+1=____,1,2,3,4,B"


def load(kind, path, **changes):
    return load_suite(make_suite_config(kind, path, **changes))


def refused(kind, path, **changes):
    with pytest.raises(InvalidInput) as caught:
        load(kind, path, **changes)
    return caught.value


def test_the_subjects_are_those_of_the_papers():
    assert (len(CEVAL), len(MMLU)) == (52, 57)


def test_ceval_asks_as_its_paper_does():
    suite = load("ceval", EXAMPLES / "ceval")
    assert len(suite.questions) == 24
    assert set(suite.subjects) == {"computer_network", "operating_system", "computer_architecture"}
    first = suite.questions[8]
    assert first.id == "computer_network row 2"
    assert first.prompt(chat=False).text == (
        "以下是中国关于计算机网络考试的单项选择题，请选出其中的正确答案。\n\n"
        "HTTPS 默认使用的端口号是____\nA. 21\nB. 80\nC. 443\nD. 8080\n答案："
    )
    assert first.gold == ("C",)
    (message,) = first.prompt(chat=True).messages
    assert message["role"] == "user"
    assert "只回答选项的字母" in message["content"]


def test_worked_examples_come_first_with_their_answers():
    question = load("ceval", EXAMPLES / "ceval", shots=2).questions[0]
    text = question.prompt(chat=False).text
    assert text.count("答案：") == 3
    assert "CPU 中执行算术运算的部件是____\nA. ALU\nB. PC\nC. IR\nD. MAR\n答案：A\n\n" in text


def test_a_limit_takes_from_each_subject():
    suite = load("ceval", EXAMPLES / "ceval", limit=7)
    assert [question.group for question in suite.questions].count("computer_network") == 2
    assert len(suite.questions) == 7
    assert len({question.group for question in suite.questions}) == 3


def test_ceval_files_may_lie_in_the_folder_and_have_a_byte_order_mark(tmp_path):
    (tmp_path / "law_val.csv").write_text(f"{HEADER},extra\n{ROW},x\n\n", encoding="utf-8-sig")
    assert load("ceval", tmp_path).questions[0].gold == ("B",)


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        pytest.param("law_val.csv", ["id,question,A,B,C,D", ROW], "law_val.csv row 1: no column answer", id="columns"),
        pytest.param("law_val.csv", [], "law_val.csv is empty; it needs the header", id="empty-file"),
        pytest.param("law_val.csv", [HEADER], "there are no questions", id="no-rows"),
        pytest.param(
            "laww_val.csv", [HEADER, ROW], "laww is none of C-Eval's 52 subjects; rename it if law", id="subject"
        ),
        pytest.param(
            "law_val.csv", [HEADER, ROW, "1,x,1,2,3,4,E"], "law_val.csv row 3: the answer is 'E'", id="answer"
        ),
        pytest.param("law_val.csv", [HEADER, "0,,1,2,3,4,A"], "row 2: the question is empty", id="question"),
        pytest.param("law_val.csv", [HEADER, "0,x,1,2"], "row 2: 4 columns, 7 are needed", id="short-row"),
        pytest.param("law_val.csv", [HEADER, "0,x,,2,3,4,A"], "option A, the right one, is empty", id="option"),
        pytest.param("law_val.csv", [HEADER, '0,"x"y,1,2,3,4,A'], "row 2 (line 2): no CSV", id="quotes"),
        pytest.param("law_test.csv", [HEADER, ROW], "holds no <subject>_val.csv", id="no-val"),
    ],
)
def test_bad_ceval_files(tmp_path, name, rows, sentence):
    write_csv(tmp_path / name, *rows)
    error = refused("ceval", tmp_path)
    assert error.field == "spec.suites[0].uri"
    assert sentence in error.message


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "law_val.csv").write_bytes(f"{HEADER}\n0,法学,1,2,3,4,B\n".encode("gbk"))
    assert "law_val.csv line 2: not UTF-8" in refused("ceval", tmp_path).message


def test_many_bad_rows_are_counted_and_five_are_shown(tmp_path):
    write_csv(tmp_path / "law_val.csv", HEADER, *["1,x,1,2,3,4,Z"] * 9)
    message = refused("ceval", tmp_path).message
    assert message.startswith("9 bad rows: law_val.csv row 2")
    assert message.endswith("and 4 more")


def test_missing_worked_examples(tmp_path):
    write_csv(tmp_path / "law_val.csv", HEADER, ROW)
    error = refused("ceval", tmp_path, shots=5)
    assert (error.field, error.reason) == ("spec.suites[0].shots", Reason.DATASET_NOT_FOUND)
    write_csv(tmp_path / "dev" / "law_dev.csv", HEADER, ROW)
    assert "law_dev.csv has 1 rows, shots is 5" in refused("ceval", tmp_path, shots=5).message


def test_nothing_there(tmp_path):
    error = refused("ceval", tmp_path / "nothing")
    assert (error.reason, error.field) == (Reason.DATASET_NOT_FOUND, "spec.suites[0].uri")


def test_mmlu_has_no_header_and_prefers_test(tmp_path):
    write_csv(tmp_path / "test" / "astronomy_test.csv", "Which is a star?,Sun,Moon,Mars,Io,A")
    write_csv(tmp_path / "val" / "astronomy_val.csv", "?,1,2,3,4,B")
    (question,) = load("mmlu", tmp_path).questions
    assert question.prompt(chat=False).text == (
        "The following are multiple choice questions (with answers) about astronomy.\n\n"
        "Which is a star?\nA. Sun\nB. Moon\nC. Mars\nD. Io\nAnswer:"
    )


def test_mmlu_takes_subjects_of_ones_own(tmp_path):
    write_csv(tmp_path / "our_products_test.csv", "?,1,2,3,4,B")
    assert load("mmlu", tmp_path).subjects["our_products"].category == "other"


def test_gsm8k(tmp_path):
    write_jsonl(tmp_path / "test.jsonl", {"question": "2+2?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"})
    write_jsonl(tmp_path / "train.jsonl", {"question": "1+1?", "answer": "It is 2.\n#### 2"})
    (question,) = load("gsm8k", tmp_path, shots=1).questions
    assert (question.gold, question.rule) == (("1004",), Rule.NUMBER)
    assert "Question: 1+1?\nAnswer: It is 2.\nThe answer is 2.\n\nQuestion: 2+2?" in question.prompt(chat=False).text


def test_gsm8k_without_its_mark(tmp_path):
    path = write_jsonl(tmp_path / "test.jsonl", {"question": "2+2?", "answer": "4"})
    assert 'test.jsonl row 1: the answer does not end in "####' in refused("gsm8k", path).message


def test_jsonl_rows_of_ones_own(tmp_path):
    path = write_jsonl(
        tmp_path / "own.jsonl",
        {"question": "Capital of France?", "answer": "Paris"},
        {"question": "Even?", "choices": ["1", "2"], "answer": "2"},
        {"question": "偶数？", "choices": {"A": "1", "B": "4"}, "answer": "B"},
        {"question": "A colour of the flag?", "answer": ["red", "white"]},
        {"question": "1+1?", "answer": 2},
    )
    questions = load("jsonl", path).questions
    assert [question.gold for question in questions] == [("Paris",), ("B",), ("B",), ("red", "white"), ("2",)]
    assert [question.rule for question in questions[:3]] == [Rule.EXACT, Rule.FIRST_LETTER, Rule.FIRST_LETTER]
    assert questions[2].prompt(chat=True).messages[0]["content"].startswith("请只回答正确选项的字母")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param("{", "own.jsonl row 2: not JSON", id="json"),
        pytest.param("[1]", "row 2: no JSON object", id="array"),
        pytest.param("[" * 5000, "row 2: not JSON", id="nested"),
        pytest.param({"q": "x"}, 'no text in field "question" (the row has q)', id="field"),
        pytest.param({"question": "x", "choices": ["a", "b"], "answer": "c"}, "none of the choices", id="choice"),
        pytest.param({"question": "x", "choices": ["a"], "answer": "a"}, "fewer than 2", id="one-choice"),
        pytest.param({"question": "x", "choices": ["a"] * 40, "answer": "a"}, "at most 26", id="many-choices"),
        pytest.param({"question": "x", "answer": {}}, 'no text in field "answer"', id="answer"),
    ],
)
def test_bad_rows_of_ones_own(tmp_path, row, sentence):
    path = write_jsonl(tmp_path / "own.jsonl", {"question": "x", "answer": "y"}, row)
    assert sentence in refused("jsonl", path).message


def test_letters_need_choices(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", {"question": "x", "answer": "y"})
    assert 'needs "choices"' in refused("jsonl", path, scoring="FirstLetter").message


def test_classification_offers_letters():
    suite = load("classification", EXAMPLES / "tickets.jsonl")
    assert suite.labels == ("billing", "network", "storage")
    assert suite.questions[0].options == {"A": "billing", "B": "network", "C": "storage"}
    assert "A. billing\nB. network\nC. storage\nAnswer:" in suite.questions[0].body


def test_classification_without_choices_knows_the_labels_that_occur(tmp_path):
    path = write_jsonl(tmp_path / "c.jsonl", {"text": "x", "label": "no"}, {"text": "y", "label": "yes"})
    suite = load("classification", path, scoring="Exact")
    assert suite.labels == ("no", "yes")
    assert "- no\n- yes\n" in suite.questions[0].body


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param([{"text": "x", "label": "a"}], "nothing to tell apart", id="one-label"),
        pytest.param([{"text": "x", "label": "a", "choices": ["b", "c"]}], "none of the row's choices", id="label"),
        pytest.param([{"text": "x"}], 'no text in field "label"', id="no-label"),
        pytest.param([{"text": "x", "label": str(n)} for n in range(201)], "at most 200", id="many"),
        pytest.param([], "there are no questions", id="empty"),
    ],
)
def test_bad_classifications(tmp_path, rows, sentence):
    assert sentence in refused("classification", write_jsonl(tmp_path / "c.jsonl", *rows)).message


def command(path):
    return read_command(make_suite_config("command", path))


def test_numbers_of_a_command(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"resolved": 0.8, "mAP": {"50": 0.7, "small": {"x": 1}}, "ok": true, "note": "x"}')
    found = command(path)
    assert found.metrics() == {"command.resolved": 0.8, "command.mAP.50": 0.7, "command.mAP.small.x": 1.0}
    assert found.ignored == ("ok", "note")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("{}", "holds no number", id="empty"),
        pytest.param("[1]", "no JSON object", id="array"),
        pytest.param('{"x": NaN}', "x is nan", id="nan"),
        pytest.param('{"x": 1e999}', "x is inf", id="infinity"),
        pytest.param('{"x": 1' + "0" * 400 + "}", "x is 1000", id="huge"),
        pytest.param('{"x": ' * 3000, "nested too deep", id="cut"),
        pytest.param('{"x": 1', "is no JSON", id="half"),
        pytest.param('{"a":' * 990 + "1" + "}" * 990, "is ", id="deep"),
        pytest.param("{" + ",".join(f'"n{n}":1' for n in range(1001)) + "}", "at most 1000", id="many"),
    ],
)
def test_bad_numbers_of_a_command(tmp_path, text, sentence):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        command(path)
    assert caught.value.field == "spec.suites[0].results"
    assert sentence in caught.value.message


def test_a_command_that_left_nothing(tmp_path):
    with pytest.raises(InvalidInput, match="left no file there") as caught:
        command(tmp_path / "metrics.json")
    assert caught.value.reason is Reason.DATASET_NOT_FOUND
