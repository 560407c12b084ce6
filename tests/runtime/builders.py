"""Valid defaults for what a case is about: configurations, rank tables, environments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ascend_runtime.config import Config, parse_config
from ascend_runtime.folders import make_aside, move_into_place, seal


def make_document(folder: Path, changes: Mapping[str, object] | None = None) -> dict:
    """Return ASCENDJOBS_CONFIG for the toy model in `folder`; changes by dotted path."""
    document = {
        "job": {"namespace": "team-a", "name": "faq", "uid": "uid-1"},
        "specDigest": "sha256:spec",
        "model": {"uri": "file:///toy/model", "path": f"{folder}/model"},
        "dataset": {
            "sources": [{"uri": "pvc://data/train.jsonl", "path": f"{folder}/data/train.jsonl", "format": "alpaca"}],
            "tokenize": {"maxLength": 64},
            "validation": {"fraction": 0.1},
        },
        "training": {
            "backend": "native",
            "method": "lora",
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targetModules": "all-linear"},
            "hyperparameters": {
                "epochs": 1,
                "maxSteps": 4,
                "learningRate": 0.02,
                "scheduler": "cosine",
                "warmupRatio": 0.25,
                "globalBatchSize": 8,
                "batchSizePerNpu": 2,
                "dtype": "fp32",
                "seed": 7,
            },
        },
        "checkpoint": {"everySteps": 2, "keep": 2},
        "workspace": {"uri": "pvc://models/.ascendjobs/uid-1", "path": f"{folder}/workspace"},
        "output": {"uri": "pvc://models/faq", "path": f"{folder}/models/faq", "ifExists": "Fail"},
    }
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return document


def make_config(folder: Path, changes: Mapping[str, object] | None = None) -> Config:
    return parse_config(json.dumps(make_document(folder, changes)))


def write_lines(path: Path, *lines: object) -> Path:
    """Write JSON lines; what is bytes already goes as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return path


def make_folder(target: Path, content: str = "content", **facts: object) -> Path:
    """Write a whole folder with one file and a manifest."""
    aside = make_aside(target, "test")
    (aside / "file").write_text(content)
    seal(aside, facts)
    move_into_place(aside, target)
    return target


def make_table(*servers: tuple[str, tuple[int, ...]], status: str = "completed", **changes: object) -> str:
    """Return hccl.json of version 1.0: (container_ip, ranks) for each pod."""
    entries = [
        {
            "device": [
                {"device_id": str(place), "device_ip": f"192.168.{index}.{place + 1}", "rank_id": str(rank)}
                for place, rank in enumerate(ranks)
            ],
            "server_id": f"10.0.0.{index}",
            "host_ip": f"10.0.0.{index}",
            "container_ip": address,
        }
        for index, (address, ranks) in enumerate(servers)
    ]
    document = {"status": status, "server_list": entries, "server_count": str(len(entries)), "version": "1.0"}
    return json.dumps({**document, **changes})
