"""`ascendctl`, also `kubectl ascend`: follow objects, check files, ask models, fetch reports, run the operator."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from ascend_jobs.cli import exits

_EPILOG = f"""\
exit codes: {exits.OK} done, {exits.FAILED} failed or not valid, {exits.USAGE} wrong usage, \
{exits.NOT_FOUND} not found, {exits.CLUSTER} no answer from the cluster, {exits.INTERRUPTED} Ctrl-C"""


_COMMANDS = ("watch", "validate", "plan", "ask", "report", "canary", "migrate", "operate", "emulator")


def make_parser(only: str = "") -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command sets `func`, which takes the arguments.

    `only` names the one command to import where it is known already: the cluster's models take a second to load, and
    `migrate` needs none of them.
    """
    program = "kubectl ascend" if sys.argv[0].endswith("kubectl-ascend") else "ascendctl"
    parser = argparse.ArgumentParser(prog=program, description="Ascend NPU jobs on Kubernetes.", epilog=_EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (only,) if only in _COMMANDS else _COMMANDS:
        import_module(f"ascend_jobs.cli.{name}").add_parser(commands)
    version = commands.add_parser("version", help="print the version of this program")
    version.set_defaults(func=print_version)
    return parser


def print_version(_: argparse.Namespace) -> int:
    """Print the version of the installed distribution."""
    from importlib.metadata import version

    print(f"ascend-jobs {version('ascend-jobs')}")
    return exits.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code, with errors as one line on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["migrate"]:
        return _run(make_parser("migrate"), given)
    from ascend_jobs.cli.kube import KubeError

    try:
        return _run(make_parser(), given)
    except KubeError as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.NOT_FOUND if err.status == 404 else exits.CLUSTER


def _run(parser: argparse.ArgumentParser, given: Sequence[str]) -> int:
    args = parser.parse_args(given)
    try:
        return int(args.func(args))
    except KeyboardInterrupt:
        return exits.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
