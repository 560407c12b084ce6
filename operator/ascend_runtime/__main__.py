"""The command line of job pods: `python -m ascend_runtime {wait,prepare,train,evaluate,inspect,serve,proxy,...}`.

Reads arguments and environment, runs one command, turns its end into an exit code and a termination message; heavy
libraries are imported by the commands that need them.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ascend_jobs import names

from ascend_runtime.config import Config, parse_config
from ascend_runtime.errors import Fenced, InvalidInput, PeerLost, Reason
from ascend_runtime.report import write_termination
from ascend_runtime.sigterm import exit_on_sigterm

Message = Mapping[str, Any] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (docs/contract.md, Termination messages)."""
    options = _parser().parse_args(arguments)
    if not options.ends_itself:
        exit_on_sigterm()
    try:
        message: Message = options.command(options)
        code = 0
    except Exception as error:  # noqa: BLE001 - the one place that turns every end into an exit code
        code, message = _verdict(error)
        if code not in (names.EXIT_INVALID_INPUT, names.EXIT_FENCED) and not getattr(error, "is_explained", False):
            traceback.print_exc()
        print(f"ascend_runtime: {error}", file=sys.stderr, flush=True)
    if message is not None and options.termination_log is not None:
        write_termination(options.termination_log, message)
    return code


def _verdict(error: Exception) -> tuple[int, Mapping[str, Any]]:
    """Return exit code and termination message for the way a command failed."""
    if isinstance(error, InvalidInput):
        wrong = {"reason": error.reason.value, "field": error.field, "message": error.message}
        return names.EXIT_INVALID_INPUT, wrong
    if isinstance(error, Fenced):
        return names.EXIT_FENCED, {"reason": "Fenced", "message": str(error)}
    if isinstance(error, PeerLost):
        return names.EXIT_PEER_LOST, {"reason": "Error", "message": str(error)}
    code, told = getattr(error, "code", 1), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(told, dict):
        return code, told
    last = traceback.format_exception_only(error)[-1].strip()
    return 1, {"reason": "Error", "message": last}


def _wait(options: argparse.Namespace) -> Message:
    from ascend_runtime.wait import wait, wanted_from

    wait(wanted_from(os.environ, options.destination))
    return None


def _prepare(options: argparse.Namespace) -> Message:
    from ascend_runtime.prepare import prepare

    return prepare(_config())


def _train(options: argparse.Namespace) -> Message:
    from ascend_runtime.train.launch import train

    return train(_config(), int(os.environ.get(names.ENV_ATTEMPT, "0")))


def _evaluate(options: argparse.Namespace) -> Message:
    from ascend_runtime.evaluate.config import parse_evaluate_config
    from ascend_runtime.evaluate.run import evaluate

    return evaluate(parse_evaluate_config(_config_text()))


def _generate(options: argparse.Namespace) -> Message:
    from ascend_runtime.generate import generate, show

    answers = generate(options.model, options.adapter, options.prompts, options.max_new_tokens)
    show(answers, as_json=options.json)
    return None


def _serve(options: argparse.Namespace) -> Message:
    from ascend_runtime.serve.command import serve

    serve(options.engine, options.arguments)
    return None


def _proxy(options: argparse.Namespace) -> Message:
    from ascend_runtime.proxy import Places, Settings, proxy

    keys, tls = os.environ.get(names.ENV_PROXY_KEYS), os.environ.get(names.ENV_PROXY_TLS)
    places = Places(options.config, options.keys, options.tls, options.files)
    proxy(places, Settings(keys, tls, options.leave_seconds, options.start_seconds))
    return None


def _inspect(options: argparse.Namespace) -> Message:
    from ascend_runtime.inspect import Inspected, inspect

    adapters = dict(options.adapter)
    return inspect(Inspected(options.model, adapters, options.quantization, options.field, options.adapter_field))


def _toy(options: argparse.Namespace) -> Message:
    from ascend_runtime.toy import write_toy

    write_toy(options.folder)
    return None


def _config() -> Config:
    return parse_config(_config_text())


def _config_text() -> str:
    text = os.environ.get(names.ENV_CONFIG)
    if text is None:
        raise InvalidInput(Reason.CONFIG_INVALID, names.ENV_CONFIG, f"the variable {names.ENV_CONFIG} is not set")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ascend_runtime", description="What runs in the pods of a job.")
    parser.set_defaults(ends_itself=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    phases: tuple[tuple[str, Callable[[argparse.Namespace], Message], str], ...] = (
        ("wait", _wait, "wait for the rank table of this attempt and for rank 0's name, then copy the table"),
        ("prepare", _prepare, f"check model, output and data set of {names.ENV_CONFIG}, and tokenise"),
        ("train", _train, f"train as {names.ENV_CONFIG} says, one process for each NPU of the pod"),
        ("evaluate", _evaluate, f"evaluate and compare served models as {names.ENV_CONFIG} says, and write the report"),
    )
    for name, command, text in phases:
        phase = commands.add_parser(name, help=text, description=text)
        phase.set_defaults(command=command)
        phase.add_argument("--termination-log", type=Path, default=Path(names.TERMINATION_LOG), metavar="FILE")
        if name == "wait":
            phase.add_argument("--destination", type=Path, default=Path(names.RANK_TABLE_DIR), metavar="DIR")
    _add_inspect(commands)
    _add_serve(commands)
    _add_proxy(commands)
    _add_tools(commands)
    return parser


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "say what a model and its adapters are, from their headers alone, and whether they belong together"
    look = commands.add_parser("inspect", help=text, description=text)
    look.set_defaults(command=_inspect)
    look.add_argument("--termination-log", type=Path, default=Path(names.TERMINATION_LOG), metavar="FILE")
    look.add_argument("model", type=Path, metavar="MODEL_DIR")
    look.add_argument("--adapter", type=_named_folder, action="append", default=[], metavar="NAME=DIR")
    look.add_argument("--quantization", choices=("w8a8", "q8_0"), help="what the spec says of the weights")
    look.add_argument("--field", default="spec.model.uri", metavar="PATH", help="field that names the model")
    look.add_argument("--adapter-field", action="append", default=[], metavar="PATH", help="the same of each adapter")


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=DIR")
    return name, Path(folder)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "serve a model on the CPU with the routes, arguments and metrics of vLLM or MindIE"
    server = commands.add_parser("serve", help=text, description=text)
    server.set_defaults(command=_serve, ends_itself=True)
    server.add_argument("--termination-log", type=Path, default=Path(names.TERMINATION_LOG), metavar="FILE")
    server.add_argument("engine", choices=("vllm", "mindie"), help="whose server is spoken")
    server.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="that engine's own (--help)")


def _add_proxy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "run HAProxy in front of a service with what the pod has mounted, and reload it when that changes"
    front = commands.add_parser("proxy", help=text, description=text)
    front.set_defaults(command=_proxy, ends_itself=True)
    front.add_argument("--termination-log", type=Path, default=Path(names.TERMINATION_LOG), metavar="FILE")
    front.add_argument("--config", type=Path, default=Path(names.PROXY_CONFIG_DIR), metavar="DIR")
    front.add_argument("--keys", type=Path, default=Path(names.PROXY_KEYS_DIR), metavar="DIR")
    front.add_argument("--tls", type=Path, default=Path(names.PROXY_TLS_DIR), metavar="DIR")
    front.add_argument("--files", type=Path, default=Path(names.PROXY_FILES_DIR), metavar="DIR")
    front.add_argument("--leave-seconds", type=float, default=10.0, metavar="N", help="requests after SIGTERM (10)")
    front.add_argument("--start-seconds", type=float, default=30.0, metavar="N", help="wait for Secrets (30)")


def _add_tools(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "answer prompts with a model, and side by side with its tuned form"
    ask = commands.add_parser("generate", help=text, description=text)
    ask.set_defaults(command=_generate, termination_log=None)
    ask.add_argument("--model", type=Path, required=True, metavar="DIR")
    ask.add_argument("--adapter", type=Path, metavar="DIR", help="output of a job with method lora")
    ask.add_argument("--max-new-tokens", type=int, default=80, metavar="N")
    ask.add_argument("--json", action="store_true", help="one JSON object a line")
    ask.add_argument("prompts", nargs="+", metavar="PROMPT")
    text = "write a self-test model of two layers and a small data set"
    toy = commands.add_parser("toy", help=text, description=text)
    toy.set_defaults(command=_toy, termination_log=None)
    toy.add_argument("folder", type=Path, metavar="OUT_DIR")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not sys.exit: after an error a backend's destructors may wait for ranks that are gone
