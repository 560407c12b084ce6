"""Settings from the environment, and what logs look like."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from ascend_jobs.__main__ import first_cause, main
from ascend_jobs.handlers.jobs import make_settings
from ascend_jobs.logs import set_up_logs
from ascend_jobs.settings import Settings, SettingsInvalid


def test_without_variables_the_defaults_hold():
    assert Settings.from_environment({}) == Settings()
    assert Settings().workers == 8


def test_variables_are_read():
    found = Settings.from_environment(
        {
            "ASCENDJOBS_NAMESPACES": "team-a, team-b",
            "ASCENDJOBS_WORKERS": " 3 ",
            "ASCENDJOBS_LEADER_ELECTION": "false",
            "ASCENDJOBS_PULL_SECRETS": "one two",
            "ASCENDJOBS_PULL_POLICY": "",
            "ASCENDJOBS_NOBODY_KNOWS_THIS": "x",
        }
    )
    assert found == Settings(
        namespaces=("team-a", "team-b"), workers=3, leader_election=False, pull_secrets=("one", "two")
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("PORT", "65536"),
        ("LEADER_ELECTION", "maybe"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("PULL_POLICY", "Sometimes"),
    ],
)
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(SettingsInvalid, match=f"ASCENDJOBS_{name}: "):
        Settings.from_environment({f"ASCENDJOBS_{name}": value})


def test_nonsense_ends_the_program_with_2(monkeypatch, capsys):
    monkeypatch.setenv("ASCENDJOBS_WORKERS", "0")
    assert main() == 2
    assert capsys.readouterr().err == "ascend-jobs: ASCENDJOBS_WORKERS: a number from 1 to 256 is wanted\n"


@pytest.fixture
def logs():
    """Set up logs; gives a function that returns what was logged."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    set_up_logs("debug", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_log_line_is_a_json_object(logs):
    with structlog.contextvars.bound_contextvars(namespace="team-a", name="faq"):
        structlog.get_logger().info("created", kind="Pod", count=2)
    (line,) = logs()
    assert list(line)[:5] == ["time", "level", "message", "namespace", "name"]
    assert line.pop("time").endswith("Z")
    assert line == {
        "message": "created",
        "level": "info",
        "kind": "Pod",
        "count": 2,
        "namespace": "team-a",
        "name": "faq",
    }


def test_an_error_is_one_line_with_its_traceback(logs):
    try:
        raise ValueError("a bug")
    except ValueError:
        structlog.get_logger().exception("pass failed")
    (line,) = logs()
    assert line["exception"][0]["exc_type"] == "ValueError"


def test_libraries_log_alike_and_only_what_is_wrong(logs):
    logging.getLogger("kopf.objects").info("handled", extra={"settings": make_settings(), "k8s_ref": {}})
    logging.getLogger("kopf.objects").warning("odd %s", "thing", extra={"settings": make_settings()})
    (line,) = logs()
    assert {k: v for k, v in line.items() if k != "time"} == {
        "message": "odd thing",
        "level": "warning",
        "logger": "kopf.objects",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "s3cr3t-value"},
        {"Authorization": "Bearer s3cr3t-value"},
        {"error": "refused: Authorization: Bearer s3cr3t-value"},
        {"headers": "{'Authorization': 'Bearer s3cr3t-value'}"},
        {"user_password": "s3cr3t-value"},
    ],
)
def test_secrets_are_not_logged(logs, fields):
    structlog.get_logger().info("sent", **fields)
    (line,) = logs()
    assert "s3cr3t" not in json.dumps(line)
    assert "[redacted]" in json.dumps(line)


def test_the_first_cause_of_a_group():
    cause = ValueError("cause")
    assert first_cause(ExceptionGroup("a", [ExceptionGroup("b", [cause]), KeyError()])) is cause
