"""`python -m ascend_runtime.serve.engine_process`: llama.cpp's server in a process of its own.

It can then be killed for memory or fail to load without taking along the process that says why. Reads its settings as
one JSON line from stdin, prints {"ready": true} when it listens, and ends when stdin ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import xllamacpp


def main() -> None:
    """Load the model, listen on a Unix socket, wait for the end of stdin."""
    settings = json.loads(sys.stdin.readline())
    server = xllamacpp.Server(parameters(settings))
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.read()
    del server
    os._exit(0)


def parameters(settings: Mapping[str, Any]) -> xllamacpp.CommonParams:
    """Return llama.cpp's parameters. Contexts are separate: a sequence never takes another one's room."""
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.hostnames = [settings["socket"]]
    params.n_parallel = settings["sequences"]
    params.n_ctx = settings["sequences"] * settings["length"]
    params.kv_unified = False
    params.ctx_shift = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.n_threads_http = settings["sequences"] + 8
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in settings["adapters"]]
    params.lora_init_without_apply = True
    params.cache_ram_mib = 0
    params.timeout_read = params.timeout_write = 24 * 3600
    params.warmup = params.ui = params.fit_params = params.endpoint_slots = params.use_jinja = False
    return params


if __name__ == "__main__":
    main()
