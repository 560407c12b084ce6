"""Golden files: how each engine is started. UPDATE_GOLDEN=1 rewrites them; the diff is read in review."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from ascend_jobs.desired.engines.engine import engine_parts, engine_problems

sys.path.insert(0, str(Path(__file__).parent))
from engine_inputs import make_input

GOLDEN = Path(__file__).parents[3] / "golden" / "engines"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/given.yaml"))


def given(case):
    return make_input(**yaml.safe_load((GOLDEN / case / "given.yaml").read_text()))


@pytest.mark.parametrize("case", CASES)
def test_parts(case):
    parts = json.loads(json.dumps(dataclasses.asdict(engine_parts(given(case)))))
    text = yaml.dump(parts, Dumper=Literal, sort_keys=False, width=4096)
    path = GOLDEN / case / "parts.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("case", CASES)
def test_no_problem(case):
    assert engine_problems(given(case)) == ()


class Literal(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


Literal.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
