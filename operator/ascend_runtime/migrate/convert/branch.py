"""The changes as a commit on a new git branch; the work tree, the index and the current branch stay as they are."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ascend_runtime.migrate.convert.rewrite import Converted

_TIMEOUT = 60.0
"""Seconds for one git command; all of them work on local files."""

_MESSAGE = "Convert from CUDA to Ascend NPU"


class BranchError(Exception):
    """git refused, or the files differ from the last commit; the message is a sentence for people."""


def commit_branch(root: Path, branch: str, changed: Iterable[Converted]) -> str:
    """Commit the converted files on top of HEAD under a new branch; return the commit's id.

    Raises BranchError if the folder is no git repository, the branch exists, or a file differs from HEAD.
    """
    _git(root, "check-ref-format", "--branch", branch)
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if _git(root, "branch", "--list", branch):
        raise BranchError(f"there is a branch {branch} already; choose another name")
    prefix = _git(root, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        _git(root, "read-tree", "HEAD", extra=index)
        for item in changed:
            _stage(root, prefix + item.path, item, index)
        tree = _git(root, "write-tree", extra=index)
    commit = _git(root, "commit-tree", tree, "-p", head, "-m", _MESSAGE, extra=_identity(root))
    _git(root, "update-ref", f"refs/heads/{branch}", commit, "")
    return commit


def _stage(root: Path, path: str, item: Converted, index: dict[str, str]) -> None:
    listed = _git(root, "ls-tree", "--full-tree", "HEAD", "--", path)
    mode, _, blob = listed.partition("\t")[0].partition(" blob ")
    if not blob or _git(root, "hash-object", "--stdin", stdin=item.before) != blob:
        raise BranchError(f"{item.path} differs from the last commit; commit it first, or take the .diff file")
    new = _git(root, "hash-object", "-w", "--stdin", stdin=item.after or b"")
    _git(root, "update-index", "--cacheinfo", f"{mode},{new},{path}", extra=index)


def _identity(root: Path) -> dict[str, str]:
    """Return who commits: the user's own git identity if there is one."""
    if (
        subprocess.run(["git", "-C", str(root), "config", "user.email"], capture_output=True, check=False).returncode
        == 0
    ):
        return {}
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    return {**dict.fromkeys(names[0], "ascendctl"), **dict.fromkeys(names[1], "ascendctl@localhost")}


def _git(root: Path, *arguments: str, stdin: bytes | None = None, extra: dict[str, str] | None = None) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", **(extra or {})}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, env=environment, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as err:
        raise BranchError(f"git {arguments[0]} did not run: {err}") from err
    if done.returncode:
        raise BranchError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()
