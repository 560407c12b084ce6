from __future__ import annotations

import pytest
from ascend_runtime.chain import Point, chain, check_fence, read_records, surplus, write_record
from ascend_runtime.errors import Fenced

P = Point


@pytest.mark.parametrize(
    ("attempt", "records", "points", "want"),
    [
        pytest.param(0, {}, [], [], id="fresh"),
        pytest.param(0, {0: None}, [P(0, 2), P(0, 4)], [P(0, 4), P(0, 2)], id="own-newest-first"),
        pytest.param(1, {0: None}, [P(0, 2), P(0, 4)], [P(0, 4), P(0, 2)], id="of-the-attempt-before"),
        pytest.param(
            1, {0: None, 1: P(0, 2)}, [P(0, 2), P(0, 4)], [P(0, 2)], id="what-an-old-writer-published-late-is-out"
        ),
        pytest.param(
            2, {0: None, 1: P(0, 2)}, [P(0, 2), P(0, 4)], [P(0, 2)], id="through-an-attempt-without-checkpoints"
        ),
        pytest.param(
            2,
            {0: None, 1: P(0, 2)},
            [P(0, 1), P(0, 2), P(0, 4), P(1, 3)],
            [P(1, 3), P(0, 2), P(0, 1)],
            id="the-attempt-before-then-what-it-continued",
        ),
        pytest.param(2, {0: None, 1: None}, [P(0, 2)], [], id="an-attempt-that-began-anew-ends-the-chain"),
        pytest.param(5, {0: None, 2: P(0, 2)}, [P(0, 2), P(2, 4)], [P(2, 4), P(0, 2)], id="numbers-with-gaps"),
        pytest.param(1, {0: None}, [P(2, 9), P(0, 2)], [P(0, 2)], id="never-a-later-attempts"),
        pytest.param(2, {1: P(1, 5)}, [P(1, 5)], [P(1, 5)], id="a-record-that-names-itself-ends-the-chain"),
        pytest.param(10, {9: None, 2: None}, [P(9, 1), P(2, 8)], [P(9, 1)], id="numbers-not-words"),
    ],
)
def test_chain(attempt, records, points, want):
    assert chain(attempt, records, points) == tuple(want)


@pytest.mark.parametrize(
    ("attempt", "records", "points", "keep", "want"),
    [
        pytest.param(0, {0: None}, [P(0, 2), P(0, 4), P(0, 6)], 2, [P(0, 2)], id="beyond-keep"),
        pytest.param(1, {0: None, 1: P(0, 2)}, [P(0, 2)], 1, [], id="never-the-one-continued-from"),
        pytest.param(1, {0: None, 1: P(0, 2)}, [P(0, 2), P(1, 4)], 1, [P(0, 2)], id="until-a-newer-one-is-there"),
        pytest.param(1, {0: None, 1: P(0, 2)}, [P(0, 2), P(0, 8), P(1, 4)], 2, [P(0, 8)], id="late-ones-go"),
        pytest.param(0, {0: None}, [P(0, 2), P(1, 4)], 1, [], id="never-a-later-attempts"),
    ],
)
def test_surplus(attempt, records, points, keep, want):
    assert surplus(attempt, records, points, keep) == tuple(want)


def test_records_come_back(tmp_path):
    write_record(tmp_path, 0, None)
    write_record(tmp_path, 12, Point(0, 40))
    (tmp_path / "attempts" / "3.json").write_text("{")
    (tmp_path / "attempts" / "x.json").write_text("{}")
    assert read_records(tmp_path) == {0: None, 3: None, 12: Point(0, 40)}


def test_fence(tmp_path):
    check_fence(tmp_path, 0)
    write_record(tmp_path, 2, None)
    check_fence(tmp_path, 2)
    with pytest.raises(Fenced, match="attempt 2 owns the workspace"):
        check_fence(tmp_path, 1)
