"""Suites: what lies in the user's files → questions with their right answers."""

from __future__ import annotations

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.config import SuiteConfig, SuiteType
from ascend_runtime.evaluate.suites.choices import load_ceval, load_mmlu
from ascend_runtime.evaluate.suites.classification import load_classification
from ascend_runtime.evaluate.suites.lines import load_gsm8k, load_jsonl
from ascend_runtime.evaluate.suites.question import Suite

_LOADERS = {
    SuiteType.CEVAL: load_ceval,
    SuiteType.MMLU: load_mmlu,
    SuiteType.GSM8K: load_gsm8k,
    SuiteType.JSONL: load_jsonl,
    SuiteType.CLASSIFICATION: load_classification,
}


def load_suite(config: SuiteConfig) -> Suite:
    """Read and check all questions of a suite; raises InvalidInput that names file, row and what to do."""
    if not config.place.path.exists():
        sentence = f"there is nothing at {config.place.uri}; check the path inside the claim"
        raise InvalidInput(Reason.DATASET_NOT_FOUND, f"{config.field}.uri", sentence)
    suite = _LOADERS[config.type](config)
    if not suite.questions:
        sentence = f"there are no questions at {config.place.uri}; all its files are empty"
        raise InvalidInput(Reason.DATASET_INVALID, f"{config.field}.uri", sentence)
    return suite.limited()
