"""Valid defaults for evaluations: configurations, suites, records, answers."""

from __future__ import annotations

import json
from pathlib import Path

from ascend_runtime.evaluate.client import RequestRecord
from ascend_runtime.evaluate.config import EvaluateConfig, SuiteConfig, parse_evaluate_config

EXAMPLES = Path(__file__).parents[3] / "examples" / "eval"


def make_suite(kind: str, path: Path, /, **changes: object) -> dict:
    if kind == "command":
        return {"name": kind, "type": kind, "results": str(path), **changes}
    return {"name": kind, "type": kind, "uri": "pvc://eval/suite", "path": str(path), **changes}


def make_document(folder: Path, **changes: object) -> dict:
    """Return ASCENDJOBS_CONFIG of an evaluation that writes below `folder`; changes by key."""
    return {
        "job": {"namespace": "team-a", "name": "faq", "uid": "uid-1"},
        "run": 3,
        "specDigest": "sha256:spec",
        "target": {"name": "faq", "url": "http://localhost:1", "model": "faq", "engine": "cpu", "revision": "sha256:a"},
        "baseline": None,
        "suites": [make_suite("ceval", EXAMPLES / "ceval")],
        "performance": None,
        "acceptance": [],
        "previous": None,
        "apiKeyFile": None,
        "output": {"uri": "pvc://reports/faq", "path": str(folder / "reports"), "historyLimit": 3},
        **changes,
    }


def make_config(folder: Path, **changes: object) -> EvaluateConfig:
    return parse_evaluate_config(json.dumps(make_document(folder, **changes)))


def make_suite_config(kind: str, path: Path, **changes: object) -> SuiteConfig:
    return make_config(Path("/x"), suites=[make_suite(kind, path, **changes)]).suites[0]


def make_record(text: str = "", *, ok: bool = True, logprobs: dict[str, float] | None = None, ms: float = 10.0):
    return RequestRecord(
        ok=ok,
        error="" if ok else "the connection broke",
        text=text,
        sent=0.0,
        token_times=(0.005,) if ok else (),
        done=ms / 1000,
        prompt_tokens=5,
        completion_tokens=1,
        top_logprobs=(logprobs,) if logprobs else (),
    )


def write_csv(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def write_jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
