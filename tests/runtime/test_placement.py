from __future__ import annotations

import pytest
from ascend_runtime.ranktable import parse_rank_table
from ascend_runtime.train.placement import PlacementError, placement, read_table
from runtime.builders import make_table

ENVIRON = {"NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "2", "WORLD_SIZE": "4", "POD_IP": "10.1.0.2"}
FIRST, SECOND = ("10.1.0.1", (0, 1)), ("10.1.0.2", (2, 3))


@pytest.mark.parametrize(
    ("environ", "table", "ranks", "world"),
    [
        pytest.param({}, None, (0,), 1, id="nothing-set"),
        pytest.param(ENVIRON, None, (2, 3), 4, id="environment-alone"),
        pytest.param(ENVIRON, make_table(FIRST, SECOND), (2, 3), 4, id="table"),
        pytest.param(ENVIRON, make_table(SECOND, FIRST), (2, 3), 4, id="table-in-another-order"),
        pytest.param(
            {**ENVIRON, "POD_IP": "fd00::2"}, make_table(FIRST, ("fd00:0::2", (2, 3))), (2, 3), 4, id="ipv6-spelling"
        ),
    ],
)
def test_placement(environ, table, ranks, world):
    found = placement(environ, parse_rank_table(table) if table else None)
    assert (found.ranks, found.world_size) == (ranks, world)


@pytest.mark.parametrize(
    ("environ", "table", "sentence"),
    [
        pytest.param({"NNODES": "two"}, None, "NNODES is 'two', not a number", id="no-number"),
        pytest.param({**ENVIRON, "WORLD_SIZE": "8"}, None, "WORLD_SIZE is 8, NNODES x NPROC_PER_NODE is 4", id="world"),
        pytest.param({**ENVIRON, "NODE_RANK": "2"}, None, "NODE_RANK is 2, NNODES 2", id="rank-beyond"),
        pytest.param(ENVIRON, make_table(status="initializing"), "status is initializing", id="not-completed"),
        pytest.param(
            ENVIRON, make_table(SECOND), "server_count is 1 with 1 entries in server_list, NNODES is 2", id="count"
        ),
        pytest.param(
            ENVIRON, make_table(FIRST, SECOND, server_count="3"), "server_count is 3 with 2 entries", id="counts-differ"
        ),
        pytest.param(
            {**ENVIRON, "POD_IP": "10.1.0.9"},
            make_table(FIRST, SECOND),
            "no entry of server_list has container_ip 10.1.0.9",
            id="not-listed",
        ),
        pytest.param(
            ENVIRON,
            make_table(FIRST, ("10.1.0.2", (1, 2))),
            "rank_id of container_ip 10.1.0.2 is 1, 2; NODE_RANK and NPROC_PER_NODE say 2, 3",
            id="ranks",
        ),
        pytest.param(ENVIRON, make_table(FIRST, ("10.1.0.2", (2,))), "is 2; NODE_RANK", id="fewer-devices"),
    ],
)
def test_contradictions_name_the_field(environ, table, sentence):
    with pytest.raises(PlacementError) as caught:
        placement(environ, parse_rank_table(table) if table else None)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("{", "not JSON", id="cut-short"),
        pytest.param("{}", "no field status", id="no-status"),
        pytest.param('{"status": "completed"}', "server_list is not a list", id="no-list"),
        pytest.param(make_table(FIRST, server_count=1), "server_count is 1, not a number in a string", id="number"),
        pytest.param(make_table(("", (0,))), "server_list[0].container_ip is missing", id="no-address"),
        pytest.param(
            make_table(FIRST).replace('"rank_id": "1"', '"rank_id": "-1"'),
            "server_list[0].device[1].rank_id is '-1'",
            id="negative-rank",
        ),
    ],
)
def test_tables_that_do_not_read(text, sentence):
    with pytest.raises(ValueError) as caught:
        parse_rank_table(text)
    assert sentence in str(caught.value)


def test_old_entries_under_initializing_mean_nothing():
    assert parse_rank_table(make_table(FIRST, status="initializing")).servers == ()


def test_the_file_may_be_absent(tmp_path):
    assert read_table({}) is None
    assert read_table({"RANK_TABLE_FILE": str(tmp_path / "hccl.json")}) is None
    (tmp_path / "hccl.json").write_text(make_table(FIRST))
    assert read_table({"RANK_TABLE_FILE": str(tmp_path / "hccl.json")}).server_count == 1
