"""How many NPUs nobody holds: counted from all pods of the cluster, so only when somebody needs to know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from ascend_jobs.cluster.client import Api, Query
from ascend_jobs.cluster.verbs import PODS
from ascend_jobs.cluster.views import requested_npus
from ascend_jobs.decide.observed import NodeView

_FRESH = 30.0
"""Seconds for which a count is good enough; a list of 10,000 pods costs about a second of CPU."""
_HOLDING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
"""Field selector of the pods that hold what they request."""


class Capacity:
    """NPUs requested by running pods, by node and resource name; counted at most every 30 s, by one at a time."""

    def __init__(self, api: Api) -> None:
        """Take the API; nothing is counted before somebody asks."""
        self._api = api
        self._held: dict[str, Counter[str]] = {}
        self._counted = float("-inf")
        self._lock = asyncio.Lock()

    async def free(self, nodes: Iterable[NodeView]) -> int:
        """Return the NPUs that no pod holds on ready and schedulable nodes; raises ApiError."""
        async with self._lock:
            if asyncio.get_running_loop().time() - self._counted > _FRESH:
                self._held = await self._count()
                self._counted = asyncio.get_running_loop().time()
        usable = (node for node in nodes if node.ready and node.schedulable)
        return sum(_free_on(node, self._held.get(node.name, {})) for node in usable)

    async def _count(self) -> dict[str, Counter[str]]:
        held: dict[str, Counter[str]] = {}
        query, token = Query(PODS, fields=_HOLDING), ""
        while True:
            page = await self._api.page(query, token)
            for pod in page.items:
                if npus := requested_npus(pod):
                    held.setdefault(pod["spec"]["nodeName"], Counter()).update(npus)
            token = page.token
            if not token:
                return held


def _free_on(node: NodeView, held: Mapping[str, int]) -> int:
    return sum(max(0, count - held.get(name, 0)) for name, count in node.npus.items())
