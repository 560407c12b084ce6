"""MindIE's tables: the definitions on numbers one can check by hand, and the form on numbers MindIE printed."""

from __future__ import annotations

import csv
import io
import time

import pytest
from ascend_runtime.evaluate.client import RequestRecord
from ascend_runtime.evaluate.perf_point import Load, Point, Row, Statistics, merge_batches
from ascend_runtime.evaluate.perf_table import common_table, csv_text, log_text, point_metrics, table_row


def make_record(
    first: float = 0.1,
    gaps: tuple[float, ...] = (0.02, 0.03),
    tail: float = 0.0,
    *,
    sent: float = 1000.0,
    **facts: object,
) -> RequestRecord:
    times = [sent + first]
    for gap in gaps:
        times.append(times[-1] + gap)
    values = {
        "ok": True,
        "error": "",
        "text": "abcdef",
        "prompt_tokens": 10,
        "completion_tokens": len(times),
        "counted": True,
    }
    return RequestRecord(sent=sent, token_times=tuple(times), done=times[-1] + tail, **{**values, **facts})


def make_point(*records: RequestRecord, load: Load | None = None, elapsed: float = 2.0, **facts: object) -> Point:
    values = {"finished_at": 0.0, "source": "pvc://data/prompts.jsonl", "model": "faq"}
    return Point(load or Load(concurrency=2), records, elapsed, **{**values, **facts})


FAILED = make_record(9.0, ok=False, error="HTTP 503: no", prompt_tokens=0, completion_tokens=0)


def test_definitions() -> None:
    """Two answers: gaps 20, 30 and 40 ms; one failure, which is in no row."""
    point = make_point(
        make_record(0.1, (0.02, 0.03), tail=0.01),
        make_record(0.2, (0.04,), text="abcd"),
        FAILED,
    )
    want = {
        "FirstTokenTime.average": 150,
        "FirstTokenTime.max": 200,
        "FirstTokenTime.min": 100,
        "FirstTokenTime.P75": 175,
        "FirstTokenTime.P90": 190,
        "FirstTokenTime.P99": 199,
        "DecodeTime.average": 30,
        "DecodeTime.P75": 35,
        "LastDecodeTime.average": 35,
        "LastDecodeTime.min": 30,
        "MaxDecodeTime.min": 30,
        "MaxDecodeTime.max": 40,
        "GenerateTime.average": 200,
        "GenerateTime.min": 160,
        "InputTokens.average": 10,
        "GeneratedTokens.average": 2.5,
        "GeneratedTokensSpeed.average": (3 / 0.16 + 2 / 0.24) / 2,
        "GeneratedCharacters.max": 6,
        "CharactersPerToken.average": 10 / 5,
        "lpct": 300 / 20,
        "Throughput": 1,
        "GenerateSpeed": 2.5,
        "GenerateSpeedPerClient": 1.25,
        "TimeElapsed": 2,
        "Failed": 1,
        "Returned": 2,
        "Total": 3,
        "TimePerOutputToken.average": (25 + 40) / 2,
        "TokensPerChunk": 1,
        "InFlight": 0.2,
        "Retries": 0,
    }
    found = point_metrics(point)
    assert {name: found[name] for name in want} == pytest.approx(want)
    assert not any(name.startswith(("Tokenizer", "PrefillBatchsize", "QueueWaitTime")) for name in found)


def test_one_token_has_no_gap_but_a_last_one_of_zero() -> None:
    found = point_metrics(make_point(make_record(gaps=()), make_record(gaps=(0.04,))))
    assert found["LastDecodeTime.min"] == 0
    assert found["MaxDecodeTime.min"] == pytest.approx(40)
    assert found["TimePerOutputToken.max"] == pytest.approx(40)


def test_chunks_of_several_tokens() -> None:
    found = point_metrics(make_point(make_record(gaps=(0.08,), completion_tokens=9)))
    assert found["DecodeTime.average"] == pytest.approx(80)
    assert found["TimePerOutputToken.average"] == pytest.approx(10)
    assert found["TokensPerChunk"] == 4.5


def test_what_nobody_counts_is_unknown() -> None:
    point = make_point(make_record(counted=False, prompt_tokens=0))
    rows = {row.name: row.statistics for row in point.rows}
    assert rows["InputTokens"] is rows["GeneratedTokens"] is rows["CharactersPerToken"] is None
    assert point.milliseconds_per_input_token is None
    assert ["lpct", "/"] in common_table(point)


def test_nothing_came_back() -> None:
    point = make_point(FAILED, elapsed=9.0)
    cells = table_row(point.row("FirstTokenTime"), 1)
    assert cells == ["FirstTokenTime", "/", "/", "/", "/", "/", "/", "1"]
    assert ["Failed", "1 ( 100.0% )"] in common_table(point)
    assert point_metrics(point)["Throughput"] == 0


def test_numbers_of_the_server() -> None:
    """MindIE's own example of merging batches: the first X opens a batch, X - 1 more belong to it."""
    assert merge_batches([2, 2, 5, 5, 3, 3, 5, 5, 5, 3]) == [2, 5, 3]
    one = make_record(batch_sizes=(1, 2, 2), queue_waits=(262.0, 7.0))
    two = make_record(batch_sizes=(1, 2, 2), queue_waits=(11.0,))
    found = point_metrics(make_point(one, two))
    assert found["PrefillBatchsize.average"] == 1
    assert found["DecoderBatchsize.average"] == 2
    assert found["QueueWaitTime.max"] == 262
    assert table_row(make_point(one, two).row("QueueWaitTime"), 2)[3] == "7.0 μs"


PRINTED = [
    ("FirstTokenTime", " ms", (52.0198, 84.9042, 38.5036, 53.7926, 60.0, 79.2684),
     "52.0198 ms | 84.9042 ms | 38.5036 ms | 53.7926 ms | 60.0 ms | 79.2684 ms"),
    ("DecodeTime", " ms", (12.06, 18.9819, 0.0341, 12.3813, 12.5, 12.8178),
     "12.06 ms | 18.9819 ms | 0.0341 ms | 12.3813 ms | 12.5 ms | 12.8178 ms"),
    ("InputTokens", "", (526.91984, 1195, 275, 606.0, 700.0, 1072.0), "526.9198 | 1195 | 275 | 606.0 | 700.0 | 1072.0"),
    ("GeneratedTokens", "", (19.98662, 20, 2, 20.0, 20.0, 20.0), "19.9866 | 20 | 2 | 20.0 | 20.0 | 20.0"),
    ("GeneratedTokensSpeed", " token/s", (71.22341, 76.51788, 30.3973, 73.4, 75.0, 76.1015),
     "71.2234 token/s | 76.5179 token/s | 30.3973 token/s | 73.4 token/s | 75.0 token/s | 76.1015 token/s"),
    ("PrefillBatchsize", "", (1.0, 1, 1, 1.0, 1.0, 1.0), "1.0 | 1 | 1 | 1.0 | 1.0 | 1.0"),
    ("QueueWaitTime", " μs", (262.5312, 5074, 7, 11.0, 12.0, 5056.0),
     "262.5312 μs | 5074 μs | 7 μs | 11.0 μs | 12.0 μs | 5056.0 μs"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "unit", "values", "printed"), PRINTED, ids=[row[0] for row in PRINTED])
def test_cells_as_mindie_prints_them(name: str, unit: str, values: tuple[float, ...], printed: str) -> None:
    statistics = Statistics(values[0], values[1], values[2], dict(zip((75, 90, 99), values[3:], strict=True)))
    assert table_row(Row(name, unit, statistics), 1346) == [name, *printed.split(" | "), "1346"]


def test_a_ratio_has_an_average_alone() -> None:
    ratio = Row("CharactersPerToken", "", Statistics(1.61899, 1.6, 1.6, {}), is_ratio=True)
    assert table_row(ratio, 1346) == ["CharactersPerToken", "1.619", "-", "-", "-", "-", "-", "1346"]


def test_common_table_of_a_published_run() -> None:
    """C-Eval on Qwen-14B, as MindIE's benchmark printed it: all values follow from counts, times and one another."""
    prompts = [527] * 1346
    prompts[0] -= 527 * 1346 - 709_234
    tokens = [20] * 1345 + [2]
    records = [
        make_record(0.0520198, (0.01,), prompt_tokens=prompt, completion_tokens=made)
        for prompt, made in zip(prompts, tokens, strict=True)
    ]
    ended = time.mktime(time.strptime("2024-09-23 17:57:12", "%Y-%m-%d %H:%M:%S"))
    source = "/data/CEval"
    point = make_point(
        *records,
        load=Load(concurrency=1),
        elapsed=380.3387,
        finished_at=ended,
        source=source,
        model="Qwen-14B",
        accuracy=(950, 1346),
    )
    assert common_table(point) == [
        ["Common Metric", "Value"],
        ["CurrentTime", "2024-09-23 17:57:12"],
        ["TimeElapsed", "380.3387 s"],
        ["DataSource", source],
        ["Failed", "0 ( 0.0% )"],
        ["Returned", "1346 ( 100.0% )"],
        ["Total", "1346 ( 100.0% )"],
        ["Concurrency", "1"],
        ["ModelName", "Qwen-14B"],
        ["lpct", "0.0987 ms"],
        ["Throughput", "3.539 req/s"],
        ["GenerateSpeed", "70.7317 token/s"],
        ["GenerateSpeedPerClient", "70.7317 token/s"],
        ["accuracy", "70.58% (950/1346)"],
    ]


def test_an_open_loop_has_no_clients() -> None:
    cells = dict(common_table(make_point(make_record(), load=Load(rate=2.0))))
    assert cells["Concurrency"] == cells["GenerateSpeedPerClient"] == "/"
    assert cells["Throughput"] == "0.5 req/s"


def test_log_text() -> None:
    point = make_point(
        make_record(0.25, (0.125, 0.125), sent=0.0, counted=False), elapsed=1.0, load=Load(concurrency=1)
    )
    lines = log_text(point).splitlines()
    rule = "+".join(["", "-" * 22, *["-" * 10] * 6, "---", ""])
    cells = "|".join([" 250.0 ms "] * 6)
    assert lines[:5] == [
        "The Benchmark test performance metric result is:",
        rule,
        "|               Metric |  average |      max |      min |      P75 |      P90 |      P99 | N |",
        rule,
        f"|       FirstTokenTime |{cells}| 1 |",
    ]
    names = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert names == [
        "Metric", "FirstTokenTime", "DecodeTime", "LastDecodeTime", "MaxDecodeTime", "GenerateTime", "InputTokens",
        "GeneratedTokens", "GeneratedTokensSpeed", "GeneratedCharacters", "Tokenizer", "Detokenizer",
        "CharactersPerToken", "PrefillBatchsize", "DecoderBatchsize", "QueueWaitTime",
        "Common Metric", "CurrentTime", "TimeElapsed", "DataSource", "Failed", "Returned", "Total", "Concurrency",
        "ModelName", "lpct", "Throughput", "GenerateSpeed", "GenerateSpeedPerClient", "accuracy",
    ]  # fmt: skip
    assert len({len(line) for line in lines[1:19]}) == 1


def test_csv_can_be_read_back() -> None:
    table = common_table(make_point(make_record(), source='a,"b"'))
    assert list(csv.reader(io.StringIO(csv_text(table)))) == table
