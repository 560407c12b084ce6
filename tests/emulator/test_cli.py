"""`ascendctl emulator` against the test API server, through a real kubeconfig and the kubernetes package."""

from __future__ import annotations

import argparse
import asyncio
import json

import pytest
from ascend_emulator.chips import Level
from ascend_emulator.faults import parse_faults
from ascend_jobs import names
from ascend_jobs.cli import emulator, exits
from ascend_jobs.cli.kube import KubeError
from emulator.builders import make_node

FAULT = {"code": "80E01801", "level": "RestartNPU", "time": 1760000000}


def emulated(name="worker-1", faults=None, **annotations):
    node = make_node(name, **annotations)
    node["metadata"]["labels"][names.EMULATED_LABEL] = "true"
    if faults is not None:
        node["metadata"]["annotations"][names.EMULATED_FAULTS] = json.dumps(faults)
    return node


@pytest.fixture
def run(api, tmp_path):
    """Run a command line as a user would; returns the exit code."""
    kubeconfig = tmp_path / "config"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test", "users": [{"name": "me", "user": {}}],
        "clusters": [{"name": "here", "cluster": {"server": api.url}}],
        "contexts": [{"name": "test", "context": {"cluster": "here", "user": "me"}}],
    }  # fmt: skip
    kubeconfig.write_text(json.dumps(config))
    parser = argparse.ArgumentParser()
    emulator.add_parser(parser.add_subparsers())

    async def run_command(*words):
        args = parser.parse_args(["emulator", *words, "--kubeconfig", str(kubeconfig)])
        return await asyncio.to_thread(args.func, args)

    return run_command


def faults_of(api, name="worker-1"):
    return json.loads(api.get("nodes", name)["metadata"]["annotations"].get(names.EMULATED_FAULTS, "{}"))


async def test_set_change_and_clear(run, api, capsys):
    api.put("nodes", emulated(other="kept"))
    assert await run("fault", "worker-1", "3") == exits.OK
    assert (
        await run("fault", "worker-1", "Ascend910-5", "--code", "0x81078603", "--level", "SubHealthFault") == exits.OK
    )
    found, problems = parse_faults(json.dumps(faults_of(api)), 8, 0)
    assert problems == []
    assert {number: (fault.code, fault.level) for number, fault in found.items()} == {
        3: ("80E01801", Level.RESTART_NPU),
        5: ("81078603", Level.SUB_HEALTH_FAULT),
    }
    assert all(fault.time > 1_700_000_000 for fault in found.values())
    assert await run("fault", "worker-1", "3", "--clear") == exits.OK
    assert set(faults_of(api)) == {"5"}
    assert await run("fault", "worker-1", "5", "--clear") == exits.OK
    assert api.get("nodes", "worker-1")["metadata"]["annotations"] == {"other": "kept"}
    assert await run("fault", "worker-1", "5", "--clear") == exits.OK
    assert capsys.readouterr().out.splitlines() == [
        "chip 3 of node worker-1: fault 80E01801 (RestartNPU)",
        "chip 5 of node worker-1: fault 81078603 (SubHealthFault)",
        "chip 3 of node worker-1: fault cleared",
        "chip 5 of node worker-1: fault cleared",
        "chip 5 of node worker-1 has no fault",
    ]


async def test_faults_are_listed(run, api, capsys):
    assert await run("faults") == exits.OK
    api.put("nodes", emulated())
    assert await run("faults") == exits.OK
    api.put("nodes", emulated(faults={"11": FAULT, "3": {"code": "81078603", "level": "SubHealthFault"}, "1": "odd"}))
    api.put("nodes", emulated("worker-2", faults={"0": FAULT}))
    api.put("nodes", make_node("real", **{names.EMULATED_FAULTS: json.dumps({"0": FAULT})}))
    assert await run("faults") == exits.OK
    assert await run("faults", "worker-2") == exits.OK
    assert capsys.readouterr().out.splitlines() == [
        "no node has emulated NPUs",
        "no faults",
        "NODE       CHIP   CODE       LEVEL            SINCE",
        "worker-1   3      81078603   SubHealthFault   -",
        "worker-1   11     80E01801   RestartNPU       2025-10-09T08:53:20Z",
        "worker-2   0      80E01801   RestartNPU       2025-10-09T08:53:20Z",
        "NODE       CHIP   CODE       LEVEL        SINCE",
        "worker-2   0      80E01801   RestartNPU   2025-10-09T08:53:20Z",
    ]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["fault", "worker-1", "0"], exits.FAILED, "node worker-1 has no emulated NPUs"),
        (["faults", "worker-1"], exits.FAILED, "node worker-1 has no emulated NPUs"),
        (["fault", "worker-2", "8"], exits.NOT_FOUND, "node worker-2 has no chip 8: it has chips 0 to 7"),
        (["fault", "listed", "2"], exits.NOT_FOUND, "it has chips 0 to 1"),
        (["fault", "empty", "0"], exits.NOT_FOUND, "is the emulator running there?"),
    ],
)
async def test_refusals(run, api, capsys, words, code, text):
    api.put("nodes", emulated("worker-2"))
    api.put("nodes", emulated("listed", **{names.BASE_DEVICE_INFOS: '{"Ascend910-0":{},"Ascend910-1":{}}'}))
    api.put("nodes", emulated("empty") | {"status": {}})
    assert await run(*words) == code
    assert text in capsys.readouterr().err
    assert api.writes == []


async def test_an_unknown_node_and_a_cluster_that_is_away(run, api):
    with pytest.raises(KubeError) as error:
        await run("fault", "absent", "0")
    assert error.value.status == 404
    await api.stop()
    with pytest.raises(KubeError, match="cannot reach the cluster"):
        await run("fault", "worker-1", "0")


async def test_a_node_that_changes_meanwhile_is_read_again(run, api):
    api.put("nodes", emulated())
    refused = []
    plain = api._object

    async def racing(request):
        if request.method == "PATCH" and len(refused) < 2:
            refused.append(request.path)
            api.annotate("nodes", "worker-1", heartbeat=str(len(refused)))
        return await plain(request)

    await api.stop()
    api._object = racing
    await _again(run, api)
    assert len(refused) == 2
    assert set(faults_of(api)) == {"3"}


async def _again(run, api):
    port = int(api.url.rpartition(":")[2])
    await api.start(port)
    assert await run("fault", "worker-1", "3") == exits.OK


async def test_a_refused_write_is_told(run, api):
    api.put("nodes", emulated())
    api.fail = {"PATCH": 1}
    with pytest.raises(KubeError, match=r"node worker-1 cannot be written: .*told to fail") as error:
        await run("fault", "worker-1", "3")
    assert error.value.status == 500


async def test_a_broken_annotation_is_replaced(run, api):
    api.put("nodes", emulated(**{names.EMULATED_FAULTS: "{"}))
    assert await run("fault", "worker-1", "1") == exits.OK
    assert set(faults_of(api)) == {"1"}


@pytest.mark.parametrize("words", [["x"], ["-1"], ["1234"], ["1", "--code", "80"], ["1", "--level", "Broken"]])
async def test_wrong_usage(run, words, capsys):
    with pytest.raises(SystemExit) as end:
        await run("fault", "worker-1", *words)
    assert end.value.code == exits.USAGE
    assert capsys.readouterr().err


def test_levels_are_those_of_the_emulator():
    assert tuple(level.value for level in Level) == emulator.LEVELS
