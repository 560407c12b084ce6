"""`ascendctl operator run`: what the options make of the settings."""

import pytest
from ascend_jobs.cli.main import main, make_parser
from ascend_jobs.cli.operate import settings_from
from ascend_jobs.settings import Settings


def settings(*words: str, **before: object) -> Settings:
    return settings_from(make_parser().parse_args(["operator", "run", *words]), Settings(**before))  # type: ignore[arg-type]


def test_options_come_before_the_environment() -> None:
    found = settings("-n", "a", "-n", "b", "--image", "mine:1", "--log-level", "debug", namespaces=("x",), workers=3)
    assert (found.namespaces, found.image, found.log_level, found.workers) == (("a", "b"), "mine:1", "debug", 3)


def test_what_no_option_says_stays() -> None:
    found = settings(namespaces=("x",), image="theirs:1", context="c")
    assert (found.namespaces, found.image, found.context) == (("x",), "theirs:1", "c")


def test_it_shares_the_charts_lease_and_answers_only_here() -> None:
    found = settings()
    assert (found.own_namespace, found.lease_name, found.leader_election) == ("ascend-jobs-system", "ascend-jobs", True)
    assert (found.host, found.port) == ("127.0.0.1", 0)


def test_a_setting_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ASCENDJOBS_WORKERS", "many")
    assert main(["operator", "run"]) == 2
    assert "ASCENDJOBS_WORKERS" in capsys.readouterr().err


def test_no_kubeconfig(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operator", "run", "--kubeconfig", f"{tmp_path}/none"]) == 1
    assert "the operator ended: " in capsys.readouterr().err
