"""The output folder: is there something already, and how a result gets there without ever being half there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ascend_runtime.config import Config, IfExists
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import (
    Manifest,
    aside_path,
    make_aside,
    move_into_place,
    read_manifest,
    remove_folder,
    seal,
)
from ascend_runtime.report import emit

FIELD = "spec.output.uri"


def finished_output(config: Config) -> Manifest | None:
    """Return the manifest of an output that makes this job's work needless, None when there is work to do.

    This job's own result always counts. With ifExists Fail another job's counts when it is of the same specDigest,
    with Skip always, with Overwrite never. Raises InvalidInput (OutputExists) for anything else that is in the way.
    """
    path = config.output.path
    if path.is_mount():
        raise InvalidInput(
            Reason.CONFIG_INVALID, FIELD, f"{config.output.uri} is a whole volume; name a folder inside it"
        )
    if not _is_occupied(path):
        return None
    manifest = read_manifest(path, hashes=False)
    if manifest is not None and _is_finished(config, manifest):
        manifest = read_manifest(path)
        if manifest is not None:
            return manifest
    if config.if_exists is not IfExists.OVERWRITE:
        raise _in_the_way(config, manifest)
    return None


def is_own(config: Config, manifest: Manifest) -> bool:
    """Return whether this very job published the output."""
    job = manifest.facts.get("job")
    same_job = isinstance(job, Mapping) and job.get("uid") == config.job_uid
    return same_job and manifest.facts.get("specDigest") == config.spec_digest


def artifacts(config: Config, manifest: Manifest) -> list[dict[str, Any]]:
    """Return the list of artifacts as the termination message has it."""
    return [
        {
            "type": str(manifest.facts.get("type", "model")),
            "uri": config.output.uri,
            "sha256": manifest.sha256,
            "sizeBytes": manifest.size_bytes,
        }
    ]


def publish(
    config: Config, facts: Mapping[str, Any], write: Callable[[Path], None], check_fence: Callable[[], None]
) -> Manifest:
    """Have a result written aside, seal it and put it in the output's place; raises Fenced and InvalidInput.

    What an Overwrite replaces is renamed aside (`.old-…`), the new folder takes its place, then the old one is removed.
    Killed between the two renames, the old one still exists and the next attempt goes on from there: the output is
    never a mixture.
    """
    target = config.output.path
    aside = make_aside(target, config.job_uid)
    write(aside)
    manifest = seal(aside, {**facts, "specDigest": config.spec_digest, "job": dict(config.job)})
    check_fence()
    if _is_occupied(target):
        _set_old_aside(config)
    move_into_place(aside, target)
    remove_leftovers(config)
    return manifest


def remove_leftovers(config: Config) -> None:
    """Remove what killed attempts of this job left beside the output; only once the output is in its place."""
    remove_folder(_old(config))
    remove_folder(aside_path(config.output.path, config.job_uid))


def _is_finished(config: Config, manifest: Manifest) -> bool:
    if is_own(config, manifest):
        return True
    if manifest.facts.get("specDigest") == config.spec_digest:
        return config.if_exists is not IfExists.OVERWRITE
    if config.if_exists is IfExists.SKIP:
        emit("warning", message=f"{config.output.uri} holds a result of another spec; ifExists is Skip, so it stays")
        return True
    return False


def _set_old_aside(config: Config) -> None:
    """Rename aside what an Overwrite replaces, or what an earlier attempt of this job published while it was fenced."""
    target = config.output.path
    if config.if_exists is not IfExists.OVERWRITE:
        manifest = read_manifest(target, hashes=False)
        if manifest is None or not is_own(config, manifest):
            raise _in_the_way(config, manifest)
    remove_folder(_old(config))
    target.rename(_old(config))


def _old(config: Config) -> Path:
    return config.output.path.with_name(f".old-{config.output.path.name}-{config.job_uid}")


def _is_occupied(path: Path) -> bool:
    """Return whether there is anything at a path but an empty folder, which a rename may replace."""
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return path.exists() or path.is_symlink()


def _in_the_way(config: Config, manifest: Manifest | None) -> InvalidInput:
    what = "files that are no complete result" if manifest is None else "the result of another spec"
    sentence = f"{config.output.uri} already holds {what}; choose another folder or set ifExists: Overwrite"
    return InvalidInput(Reason.OUTPUT_EXISTS, FIELD, sentence)
