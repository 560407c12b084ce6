"""Read command lines as `vllm serve` does. Runs with the Python that vLLM is installed for, which has nothing of ours.

Usage: python parser.py ASKED.json ANSWER.json; asked is a list of argument lists, the answer the options that there are
with how many values they take, and for each list what vLLM complains of, null where it takes it.
"""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer the file."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    parser = serve_parser()
    forms = {word[2:]: form(action) for action in parser._actions for word in action.option_strings if word[:2] == "--"}
    Path(sys.argv[2]).write_text(json.dumps({"forms": forms, "complaints": [complaint(parser, a) for a in asked]}))


def form(action: argparse.Action) -> str:
    """Return how an option takes its values."""
    if action.nargs == 0:
        return "switch"
    if type(action).__name__ in ("_AppendAction", "_ExtendAction") and action.nargs is None:
        return "one value, again for each"
    return "values in a row" if action.nargs in ("+", "*") else "one value"


def serve_parser() -> Any:  # noqa: ANN401 - vLLM's own parser class
    """Return the parser of `vllm serve`."""
    from vllm.entrypoints.cli.serve import ServeSubcommand  # type: ignore[import-not-found]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

    return ServeSubcommand().subparser_init(FlexibleArgumentParser().add_subparsers())


def complaint(parser: Any, arguments: list[str]) -> str | None:  # noqa: ANN401
    """Return what the parser says of arguments, None when it takes them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(arguments)
    except (SystemExit, ValueError) as error:
        return said.getvalue().strip().rsplit("\n", 1)[-1] or str(error)
    return None


if __name__ == "__main__":
    main()
