"""Rank tables: exact bytes of version 1.0, both dialects, and what must not count."""

import json

import pytest
from ascend_jobs import names
from ascend_jobs.domain.ranktable import Member, ReportInvalid, devices_of, missing, rank_table
from builders import make_report

UIDS = ("aaaaaaaa-1111-4222-8333-444444444444", "bbbbbbbb-1111-4222-8333-444444444444")


def make_member(index: int, devices: list[int], *, node: str | None = None, **changes: object) -> Member:
    host = f"10.0.0.{index + 1}"
    name, uid = f"w-{index}", UIDS[index]
    values = {
        "index": index,
        "name": name,
        "uid": uid,
        "ip": f"10.244.0.{index + 1}",
        "host_ip": host,
        "node": node or f"n{index}",
        "annotations": make_report(name, uid, host, devices),
    }
    return Member(**{**values, **changes})


def test_document_is_what_ascend_operator_writes():
    """Key order, string types and order of servers, compact JSON; servers are told apart by host IP."""
    table = rank_table([make_member(1, [0, 3]), make_member(0, [2, 5])])
    assert table.document == (
        '{"status":"completed","server_list":['
        '{"device":[{"device_id":"2","device_ip":"192.168.1.12","rank_id":"0"},'
        '{"device_id":"5","device_ip":"192.168.1.15","rank_id":"1"}],'
        '"server_id":"10.0.0.1","host_ip":"10.0.0.1","container_ip":"10.244.0.1"},'
        '{"device":[{"device_id":"0","device_ip":"192.168.2.10","rank_id":"2"},'
        '{"device_id":"3","device_ip":"192.168.2.13","rank_id":"3"}],'
        '"server_id":"10.0.0.2","host_ip":"10.0.0.2","container_ip":"10.244.0.2"}],'
        '"server_count":"2","version":"1.0"}'
    )
    assert table.devices == 4
    assert table.unaddressed == ()


def test_pods_that_share_a_node_are_told_apart_by_uid():
    table = json.loads(rank_table([make_member(0, [0], node="n"), make_member(1, [1], node="n")]).document)
    assert [server["server_id"] for server in table["server_list"]] == list(UIDS)


def test_servers_stand_in_numeric_order_of_ranks():
    """With eleven pods a textual order would put rank 10 before rank 2."""
    members = [
        Member(i, f"w-{i}", f"{i:08d}-1111-4222-8333-444444444444", f"10.1.0.{i}", f"10.2.0.{i}", f"n{i}",
               make_report(f"w-{i}", f"{i:08d}-1111-4222-8333-444444444444", f"10.2.0.{i}", [0]))
        for i in reversed(range(11))
    ]  # fmt: skip
    table = json.loads(rank_table(members).document)
    assert [s["device"][0]["rank_id"] for s in table["server_list"]] == [str(i) for i in range(11)]


def test_unaddressed_devices_are_named():
    text = json.dumps({"devices": [{"device_id": "4", "device_ip": "-1"}]})
    table = rank_table([make_member(0, [0], annotations={names.MINDCLUSTER_DEVICES: text})])
    assert table.unaddressed == ("w-0/4",)


def test_cce_dialect():
    text = json.dumps(
        {"pod_name": "w-0", "server_id": "10.0.0.1", "devices": [{"device_id": "1", "device_ip": "1.2.3.4"}]}
    )
    member = make_member(0, [0], annotations={names.CCE_DEVICES: text})
    assert [d.device_id for d in devices_of(member)] == ["1"]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param("{", "not JSON", id="garbled"),
        pytest.param("[]", "no list devices", id="not-an-object"),
        pytest.param('{"devices": 3}', "no list devices", id="devices-no-list"),
        pytest.param('{"devices": [3]}', "not an object", id="device-no-object"),
        pytest.param('{"devices": [{"device_id": 3, "device_ip": "1.2.3.4"}]}', "strings", id="id-is-an-int"),
        pytest.param('{"devices": [{"device_id": "x", "device_ip": "1.2.3.4"}]}', "number", id="id-is-no-number"),
        pytest.param('{"devices": [{"device_id": "1"}, {"device_id": "1"}]}', "twice", id="same-chip-twice"),
        pytest.param(json.dumps({"server_id": UIDS[1], "devices": []}), "not this pod's UID", id="older-pod"),
        pytest.param('{"host_ip": "10.9.9.9", "devices": []}', "not this pod's host", id="other-host"),
        pytest.param('{"server_id": "10.9.9.9", "devices": []}', "not this pod's host", id="other-host-older-plugin"),
        pytest.param('{"pod_name": "w-7", "devices": []}', "not this pod", id="other-pod"),
        pytest.param('{"devices": [' + " " * 70_000 + "]}", "longer than", id="endless"),
        pytest.param("[" * 50_000, "not JSON", id="deeply-nested"),
    ],
)
def test_a_report_that_must_not_count(report, words):
    member = make_member(0, [0], annotations={names.MINDCLUSTER_DEVICES: report})
    with pytest.raises(ReportInvalid, match=words):
        devices_of(member)
    assert words in missing([member], 1)[0]


@pytest.mark.parametrize(
    ("member", "npus", "want"),
    [
        pytest.param(make_member(0, [0, 1]), 2, (), id="complete"),
        pytest.param(make_member(0, [0]), 2, ("w-0: 1 devices reported, 2 requested",), id="too-few"),
        pytest.param(make_member(0, [0], annotations={}), 1, ("w-0: no device report",), id="no-report"),
        pytest.param(make_member(0, [0], ip=""), 1, ("w-0: no pod IP",), id="no-ip"),
    ],
)
def test_missing(member, npus, want):
    assert missing([member], npus) == want
