"""The parts of hack/cluster and hack/images.py that need neither Docker nor a network."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HACK = Path(__file__).resolve().parents[2] / "hack"
sys.path.insert(0, str(HACK))

from cluster import daemon, gobuild, host, kindcluster, nodeimage, places, stages, versions  # noqa: E402
from dockerfile import slice_for  # noqa: E402
from layers import write_lacking  # noqa: E402


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("", {}, id="empty"),
        pytest.param("# a comment\n\nA=v1.2\nB_C=d:e@f\n", {"A": "v1.2", "B_C": "d:e@f"}, id="values"),
        pytest.param("  A=1  \n", {"A": "1"}, id="indented"),
    ],
)
def test_parse_versions(text, want):
    assert versions.parse_versions(text) == want


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("A", id="no-value"),
        pytest.param("A=1\nA=2", id="twice"),
        pytest.param("A='1'", id="quoted"),
        pytest.param("A=$B", id="expansion"),
        pytest.param("A=1 2", id="space"),
        pytest.param("export A=1", id="export"),
    ],
)
def test_parse_versions_refuses_what_a_shell_reads_otherwise(text):
    with pytest.raises(ValueError, match="line "):
        versions.parse_versions(text)


def test_shell_reads_the_same_versions():
    keys = versions.read_versions()
    script = f". {versions.VERSIONS_FILE}\n" + "\n".join(f'echo "{key}=${key}"' for key in keys)
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert versions.parse_versions(shown) == keys


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("STAMPS", "LOGS", "LOCKS"):
        monkeypatch.setattr(stages, name, tmp_path / name.lower())
    return tmp_path


def make_stage(cache, *inputs, work=None):
    product = cache / "product"
    return stages.Stage(
        name="thing",
        title="make a thing",
        usual="1 s",
        inputs=inputs,
        present=product.exists,
        work=work or (lambda shell: product.write_text(shell.ask("echo", *inputs))),
    )


def test_stage_runs_once_for_the_same_inputs(cache):
    assert stages.finish(make_stage(cache, "a"))
    assert not stages.finish(make_stage(cache, "a"))
    assert (cache / "product").read_text() == "a\n"


def test_stage_runs_again_for_other_inputs(cache):
    stages.finish(make_stage(cache, "a"))
    assert stages.finish(make_stage(cache, "b"))
    assert (cache / "product").read_text() == "b\n"


def test_stage_runs_again_when_the_product_is_gone(cache):
    stages.finish(make_stage(cache, "a"))
    (cache / "product").unlink()
    assert stages.finish(make_stage(cache, "a"))


def test_stage_killed_half_way_is_not_fresh(cache):
    stages.finish(make_stage(cache, "a"))

    def die(shell):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.finish(make_stage(cache, "b", work=die))
    assert not make_stage(cache, "a").is_fresh()
    assert not make_stage(cache, "b").is_fresh()


def test_failure_names_step_log_and_way_out(cache):
    with pytest.raises(stages.StepFailed) as raised:
        stages.finish(make_stage(cache, "a", work=lambda shell: shell.run("sh", "-c", "echo no room >&2; exit 3")))
    told = str(raised.value)
    assert "thing failed" in told
    assert "code 3: no room" in told
    assert str(cache / "logs" / "thing.log") in told
    assert "way out: " in told
    assert not make_stage(cache, "a").is_fresh()


def test_missing_program_is_an_expected_failure(cache):
    with pytest.raises(stages.StepFailed, match="is not installed"):
        stages.Shell("thing").run("no-such-program-anywhere")


def test_stage_without_product_fails(cache):
    with pytest.raises(stages.StepFailed, match="product is missing"):
        stages.finish(make_stage(cache, "a", work=lambda shell: None))


def test_digest_tells_lists_apart():
    assert stages.digest_of("ab", "c") != stages.digest_of("a", "bc")


def test_files_digest_sees_names_content_and_execute_bit(tmp_path):
    file = tmp_path / "d" / "f"
    file.parent.mkdir()
    seen = set()
    for change in (
        lambda: file.write_text("1"),
        lambda: file.write_text("2"),
        lambda: file.chmod(0o755),
        lambda: file.rename(file.with_name("g")),
    ):
        change()
        seen.add(stages.files_digest(file.parent))
    assert len(seen) == 4


LIMITED = "Name:\tx\nCapBnd:\t000001fffeffffff\n"
FULL = "Name:\tx\nCapBnd:\t000001ffffffffff\n"


def test_may_set_limits():
    assert host.may_set_limits(FULL)
    assert not host.may_set_limits(LIMITED)


PROCESS = {
    "args": ["sh"],
    "capabilities": {"bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"], "effective": ["CAP_SYS_RESOURCE"], "ambient": []},
    "oomScoreAdj": -998,
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
}
REWRITTEN = {
    "args": ["sh"],
    "capabilities": {"bounding": ["CAP_KILL"], "effective": [], "ambient": []},
    "oomScoreAdj": 0,
}


def run_wrapper(tmp_path, status, *arguments):
    """Run the wrapper with a stand-in for runc that prints its arguments."""
    real = tmp_path / "real-runc"
    real.write_text('#!/bin/sh\necho "$@"\n')
    real.chmod(0o755)
    (tmp_path / "status").write_text(status)
    settings = {**os.environ, "REAL_RUNC": str(real), "STATUS_FILE": str(tmp_path / "status")}
    wrapper = HACK / "kind" / "runc-wrapper.sh"
    done = subprocess.run([wrapper, *arguments], env=settings, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(arguments)


@pytest.mark.skipif(shutil.which("jq") is None, reason="the wrapper needs jq, which it runs beside")
@pytest.mark.parametrize(
    ("status", "want"), [pytest.param(LIMITED, REWRITTEN, id="limited"), pytest.param(FULL, PROCESS, id="full")]
)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--root", "/r", "create", "--bundle", "BUNDLE", "id"], id="create"),
        pytest.param(["run", "--bundle=BUNDLE", "id"], id="run-equals"),
        pytest.param(["--log", "/l", "create", "-b", "BUNDLE", "id"], id="short-option"),
    ],
)
def test_wrapper_rewrites_the_bundle(tmp_path, status, want, arguments):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"ociVersion": "1.0.2", "process": PROCESS, "root": {"path": "rootfs"}}))
    run_wrapper(tmp_path, status, *[word.replace("BUNDLE", str(tmp_path)) for word in arguments])
    assert json.loads(config.read_text()) == {"ociVersion": "1.0.2", "process": want, "root": {"path": "rootfs"}}


@pytest.mark.skipif(shutil.which("jq") is None, reason="the wrapper needs jq, which it runs beside")
def test_wrapper_rewrites_the_process_of_exec(tmp_path):
    process = tmp_path / "process.json"
    process.write_text(json.dumps(PROCESS))
    run_wrapper(tmp_path, LIMITED, "exec", "--process", str(process), "--detach", "id")
    assert json.loads(process.read_text()) == REWRITTEN


def test_wrapper_leaves_other_commands_alone(tmp_path):
    run_wrapper(tmp_path, LIMITED, "state", "id")
    run_wrapper(tmp_path, LIMITED, "exec", "id", "create")


SAVED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER-USER -j RETURN
COMMIT
"""


def test_chain_removals_take_docker_and_nothing_else():
    assert daemon.chain_removals(SAVED) == [
        ["-D", "FORWARD", "-j", "DOCKER-USER"],
        ["-D", "FORWARD", "-o", "docker0", "-j", "DOCKER"],
        ["-F", "DOCKER"],
        ["-F", "DOCKER-USER"],
        ["-X", "DOCKER"],
        ["-X", "DOCKER-USER"],
    ]


def test_pid_files_of_the_dead_and_of_others_are_removed(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    comm = Path("/proc/self/comm").read_text().strip()
    mine.write_text(f"{os.getpid()}\n")
    other.write_text("not a number")
    daemon.forget_dead(mine, comm)
    daemon.forget_dead(other, comm)
    assert mine.exists()
    assert not other.exists()
    daemon.forget_dead(mine, "dockerd")
    assert not mine.exists()


def test_kind_config_shares_one_folder_and_marks_workers():
    config = json.loads(kindcluster.Cluster("t", "image", built=True).config)
    mounts = {node["extraMounts"][0]["hostPath"] for node in config["nodes"]}
    assert mounts == {str(places.cluster_folder("t") / "shared")}
    roles = [(node["role"], node.get("labels")) for node in config["nodes"]]
    emulated = {"ascendjobs.io/emulated": "true"}
    assert roles == [("control-plane", None), ("worker", emulated), ("worker", emulated)]
    assert config["networking"]["disableDefaultCNI"] is True


def test_kind_config_leaves_the_network_to_a_pulled_image():
    assert "networking" not in json.loads(kindcluster.Cluster("t", "image", built=False).config)


def test_every_program_of_a_node_is_built_by_some_family():
    families = gobuild.families(versions.read_versions())
    built = {program for name in nodeimage.NODE_FAMILIES for program in families[name].programs}
    assert built >= {"kind", "etcd", "kube-apiserver", "kubelet", "kubeadm", "containerd", "ctr", "coredns"}


def test_kubernetes_ldflags_stamp_the_version():
    flags = gobuild.kubernetes_ldflags("v1.37.2")
    assert "version.gitVersion=v1.37.2" in flags
    assert "version.gitMinor=37" in flags


DOCKERFILE = """ARG BASE=x
FROM ${BASE} AS base
FROM base AS one
COPY a /
FROM base AS two
COPY --from=one /a /
FROM base AS three
COPY b /
"""


@pytest.mark.parametrize(
    ("target", "want"),
    [
        pytest.param("three", ["base", "three"], id="by-from"),
        pytest.param("two", ["base", "one", "two"], id="by-copy"),
        pytest.param("base", ["base"], id="alone"),
    ],
)
def test_slice_for_keeps_what_a_target_stands_on(target, want):
    part = slice_for(DOCKERFILE, target)
    assert part.startswith("ARG BASE=x\n")
    assert [line.split()[-1] for line in part.splitlines() if line.startswith("FROM")] == want


def test_slice_for_unknown_target():
    with pytest.raises(KeyError):
        slice_for(DOCKERFILE, "four")


def add_file(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def make_saved(path, *layers):
    """Write what `docker save` writes for one image with two names."""
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": digests}}).encode()
    members = [f"l{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "c.json", "RepoTags": ["a/b:1", "a/b:dev"], "Layers": members}]
    with tarfile.open(path, "w") as tar:
        for member, layer in zip(members, layers, strict=True):
            add_file(tar, member, layer)
        add_file(tar, "c.json", config)
        add_file(tar, "manifest.json", json.dumps(manifest).encode())
    return digests


def test_only_lacking_layers_are_written(tmp_path):
    below, above = make_saved(tmp_path / "saved.tar", b"large", b"small")
    write_lacking(tmp_path / "saved.tar", tmp_path / "out.tar", {below})
    with tarfile.open(tmp_path / "out.tar") as tar:
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}
    blobs = {name.removeprefix("blobs/sha256/"): content for name, content in files.items() if "blobs" in name}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    assert above.removeprefix("sha256:") in blobs
    assert below.removeprefix("sha256:") not in blobs
    names = [entry["annotations"] for entry in json.loads(files["index.json"])["manifests"]]
    assert names == [{"io.containerd.image.name": f"docker.io/a/b:{tag}"} for tag in ("1", "dev")]
    manifest = json.loads(blobs[json.loads(files["index.json"])["manifests"][0]["digest"].removeprefix("sha256:")])
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [(below, 5), (above, 5)]
