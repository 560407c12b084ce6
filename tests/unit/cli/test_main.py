"""The command line as a whole: quick to start, every command explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from ascend_jobs.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = (
    [],
    ["watch"],
    ["validate"],
    ["plan"],
    ["ask"],
    ["report"],
    ["operator", "run"],
    ["emulator", "fault"],
    ["emulator", "faults"],
    ["version"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: ascendctl" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    """Each of these takes longer to import than all of the rest."""
    code = (
        "import sys; from ascend_jobs.cli.main import make_parser; make_parser();"
        "print([m for m in ('kubernetes', 'pydantic', 'yaml', 'kopf', 'aiohttp', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "operator"
    )
    assert done.stdout.strip() == "[]"


def test_plugin_calls_itself_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-ascend"])
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "usage: kubectl ascend" in capsys.readouterr().out
