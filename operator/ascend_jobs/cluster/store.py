"""The objects of one kind as last seen, from any source, never going back.

Three sources meet here: lists, watch events and the answers to our own writes. They come in any order, so an object is
replaced only by a newer one. Resource versions are compared as integers where both are decimal (guaranteed from
Kubernetes 1.35, true of etcd before), per object; elsewhere the last one that came wins.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from ascend_jobs.decide.plan import Manifest

V = TypeVar("V")
_REMEMBERED = 50_000
"""Deleted uids that are remembered, some 8 MB: more than come between a write and its late answer."""


class Key(NamedTuple):
    """A job: its short kind, namespace and name. What the queue hands out."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Entry(Generic[V]):
    version: str
    view: V
    key: Key
    owner: str
    sequence: int


class Store(Generic[V]):
    """Views of one kind by uid, and by the uid of the job that owns them."""

    def __init__(
        self,
        convert: Callable[[Manifest], V],
        identify: Callable[[Manifest], tuple[Key, str]],
        changed: Callable[[Key, V | None, V | None], None],
        *,
        same: Callable[[V, V], bool] = operator.eq,
        final: bool = False,
    ) -> None:
        """Take how to make a view, how to find (key, owner's uid), and whom to tell (key, old, new) of real changes.

        `final`: a deleted uid never comes back. Where a selector decides what is seen, it may, when a label returns.
        """
        self._convert, self._identify, self._changed, self._same = convert, identify, changed, same
        self._final = final
        self._entries: dict[str, _Entry[V]] = {}
        self._owned: dict[str, dict[str, V]] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Key, V]]:
        return ((entry.key, entry.view) for entry in self._entries.values())

    def find(self, uid: str) -> V | None:
        """Return the view of a uid, None when it is not there."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.view

    def owned(self, owner: str) -> tuple[V, ...]:
        """Return the views that belong to a job's uid."""
        return tuple(self._owned.get(owner, {}).values())

    def seen(self, manifest: Manifest, *, written: bool = False) -> None:
        """Take an object in; `written` when it is the answer to our own write, which may be late."""
        meta = manifest["metadata"]
        uid, version = meta["uid"], meta.get("resourceVersion", "")
        if uid in self._gone and (written or self._final or not is_newer(version, self._gone[uid])):
            return
        old = self._entries.get(uid)
        self._sequence += 1
        if old is not None and (old.version == version or is_newer(old.version, version)):
            old.sequence = self._sequence
            return
        key, owner = self._identify(manifest)
        view = self._convert(manifest)
        self._put(uid, _Entry(version, view, key, owner, self._sequence))
        if old is None or not self._same(old.view, view):
            self._changed(key, None if old is None else old.view, view)

    def gone(self, manifest: Manifest) -> None:
        """Take in that an object was deleted, or left the selection."""
        meta = manifest["metadata"]
        uid, version = meta["uid"], meta.get("resourceVersion", "")
        old = self._entries.get(uid)
        if old is None or not is_newer(old.version, version):
            self.drop(uid, version)

    def drop(self, uid: str, version: str = "") -> None:
        """Take in that no object has this uid any more, as of a resourceVersion where one is known."""
        old = self._entries.pop(uid, None)
        self._gone[uid] = version or (old.version if old else "0")
        self._gone.move_to_end(uid)
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        if old is None:
            return
        owned = self._owned.get(old.owner, {})
        owned.pop(uid, None)
        if not owned:
            self._owned.pop(old.owner, None)
        self._changed(old.key, old.view, None)

    def mark(self) -> int:
        """Return a mark of what has been taken in so far; to be taken before a list begins."""
        return self._sequence

    def relisted(self, namespace: str, version: str, uids: Collection[str], mark: int) -> None:
        """Take in that a list (as of `version`, of one namespace or of all) held just these uids.

        What is not in it is gone, unless it is newer than the list.
        """
        for uid, entry in list(self._entries.items()):
            if uid in uids or (namespace and entry.key.namespace != namespace):
                continue
            comparable = entry.version.isdecimal() and version.isdecimal()
            newer = is_newer(entry.version, version) if comparable else entry.sequence > mark
            if not newer:
                self.drop(uid)

    def _put(self, uid: str, entry: _Entry[V]) -> None:
        old = self._entries.get(uid)
        if old is not None and old.owner != entry.owner:
            self._owned.get(old.owner, {}).pop(uid, None)
        self._gone.pop(uid, None)
        self._entries[uid] = entry
        self._owned.setdefault(entry.owner, {})[uid] = entry.view


def is_newer(one: str, other: str) -> bool:
    """Say whether a resourceVersion is surely newer than another of the same kind."""
    return one.isdecimal() and other.isdecimal() and int(one) > int(other)
