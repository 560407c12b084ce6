"""A conversion from folder to folder: what `ascendctl migrate convert` and the job's phase Convert both call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ascend_runtime.migrate.convert import auto, results
from ascend_runtime.migrate.convert.binding import Names
from ascend_runtime.migrate.convert.branch import commit_branch
from ascend_runtime.migrate.convert.context import Context, Project
from ascend_runtime.migrate.convert.distributed import LAUNCHER, distribute
from ascend_runtime.migrate.convert.folder import Outcome, convert_folder, read_project
from ascend_runtime.migrate.convert.rewrite import Converted, finish, insert_import, rewrite, visit
from ascend_runtime.migrate.convert.source import parse_source


class Mode(StrEnum):
    """How the project becomes one for Ascend (docs/migrate-convert.md)."""

    AUTO = "auto"
    CONVERT = "convert"
    PATCH = "patch"


class InvalidOptions(Exception):
    """The options or the folders do not go together; the message is a sentence for people."""


@dataclass(frozen=True)
class Options:
    """What the user asked for. `main` and `model` are for the change to DistributedDataParallel; `main` empty: none."""

    mode: Mode
    torch_version: tuple[int, int] = (2, 7)
    entries: frozenset[str] = frozenset()
    main: str = ""
    model: str = "model"
    branch: str = ""


def run(root: Path, output: Path, options: Options) -> Outcome:
    """Convert the project at `root`; write below `output` only, or, with a branch, into the repository's objects.

    Raises InvalidOptions, BranchError, and OSError if the output cannot be written.
    """
    root, output = root.resolve(), output.resolve()
    _check(root, output, options)
    outcome = convert(root, options)
    if options.mode is Mode.PATCH:
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{root.name}.diff").write_bytes(results.unified_diff(outcome.changed))
        results.write_reports(output / results.REPORTS, outcome)
        if options.branch:
            commit_branch(root, options.branch, outcome.changed)
        return outcome
    target = output / converted_name(root, options)
    results.write_tree(root, target, outcome)
    if options.main:
        _write_launcher(target, options.main)
    results.write_reports(target / results.REPORTS, outcome)
    return outcome


def converted_name(root: Path, options: Options) -> str:
    """Return the name of the converted tree, as the upstream tool has it."""
    return f"{root.name}_msft{'_multi' if options.main else ''}"


def convert(root: Path, options: Options) -> Outcome:
    """Return what a conversion would do; nothing is written."""
    project = read_project(root, options.torch_version)
    if options.mode is Mode.AUTO:
        return convert_folder(root, project, lambda p, raw: auto.rewrite_auto(p, raw, project, options.entries))
    return convert_folder(root, project, lambda p, raw: _one(p, raw, project, options))


def _one(path: str, raw: bytes, project: Project, options: Options) -> Converted:
    if not options.main or path != options.main:
        return rewrite(path, raw, project)
    source = parse_source(path, raw)
    context = Context(source, Names(source.tree, path), project)
    visit(context)
    insert_import(context)
    distribute(context, options.model)
    return finish(context, raw)


def _check(root: Path, output: Path, options: Options) -> None:
    if not root.is_dir():
        raise InvalidOptions(f"{root} is not a folder")
    if output == root or output.is_relative_to(root):
        raise InvalidOptions("the output folder lies inside the project; choose one outside")
    if options.main and options.mode is Mode.AUTO:
        raise InvalidOptions("--distributed rewrites source: it goes with the modes convert and patch")
    for path in options.entries | ({options.main} if options.main else set()):
        if not (root / path).resolve().is_relative_to(root) or not (root / path).is_file():
            raise InvalidOptions(f"{path} is not a file of the project")
    if options.branch and options.mode is not Mode.PATCH:
        raise InvalidOptions("--branch goes with the mode patch")
    target = output / converted_name(root, options)
    if options.mode is not Mode.PATCH and target.exists():
        raise InvalidOptions(f"{target} exists; remove it or choose another output folder")


def _write_launcher(target: Path, main: str) -> None:
    script = target / "run_distributed_npu.sh"
    if not script.exists():
        import shlex

        script.write_text(LAUNCHER.format(main=shlex.quote(main)), encoding="utf-8")
        script.chmod(0o755)
