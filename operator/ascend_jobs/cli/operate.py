"""`ascendctl operator run`: the operator on this machine, against the cluster of the kubeconfig."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ascend_jobs.cli import exits

if TYPE_CHECKING:
    from ascend_jobs.settings import Settings

SYSTEM_NAMESPACE = "ascend-jobs-system"
"""Namespace in which the documentation installs the chart."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    operator = commands.add_parser("operator", help="the operator itself")
    parser = operator.add_subparsers(title="commands", metavar="COMMAND", required=True).add_parser(
        "run",
        help="run the operator on this machine",
        description="Run the operator on this machine, as the user of the kubeconfig. Settings come from the "
        "environment as in a pod (ASCENDJOBS_...), then from these options. It shares a Lease with the operator in the "
        "cluster: the one that comes second waits. The CRDs have to be there: kubectl apply -f crds/.",
    )
    parser.add_argument("-n", "--namespace", action="append", default=[], help="serve only this one; may be repeated")
    parser.add_argument("--context", help="context of the kubeconfig; the current one when absent")
    parser.add_argument("--kubeconfig", help="path of the kubeconfig; $KUBECONFIG or ~/.kube/config when absent")
    parser.add_argument("--image", help="image of training pods whose job names none")
    parser.add_argument("--prepare-image", help="image of phases without NPUs; that of --image when absent")
    parser.add_argument(
        "--lease-namespace",
        metavar="NS",
        default=SYSTEM_NAMESPACE,
        help="namespace of the Lease: that in which the chart is installed (%(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port of /livez, /readyz and /metrics; a free one when absent"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.set_defaults(func=run_operator)


def run_operator(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or until a part of the operator ends; return the exit code."""
    from kubernetes.config import ConfigException

    from ascend_jobs.__main__ import first_cause, run
    from ascend_jobs.logs import set_up_logs
    from ascend_jobs.settings import Settings, SettingsInvalid

    try:
        settings = settings_from(args, Settings.from_environment(os.environ))
        set_up_logs(settings.log_level, settings.log_format)
        asyncio.run(run(settings))
    except SettingsInvalid as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.USAGE
    except (ConfigException, OSError, ExceptionGroup) as err:
        print(f"ascendctl: the operator ended: {first_cause(err)}", file=sys.stderr)
        return exits.FAILED
    return exits.OK


def settings_from(args: argparse.Namespace, settings: Settings) -> Settings:
    """Return the settings with what the options say, and what fits a person's terminal."""
    given = {
        "namespaces": tuple(args.namespace),
        "context": args.context,
        "kubeconfig": args.kubeconfig,
        "image": args.image,
        "prepare_image": args.prepare_image,
        "own_namespace": args.lease_namespace,
        "log_level": args.log_level,
    }
    told = {name: value for name, value in given.items() if value}
    format_ = "console" if sys.stderr.isatty() else settings.log_format
    return replace(settings, **told, host="127.0.0.1", port=args.port, log_format=format_, reach="proxy")
