"""Leader election by a Lease (coordination.k8s.io/v1), so that one of several replicas acts.

The figures are client-go's. Whether a Lease has run out is judged by how long it was seen unchanged, never by comparing
clocks. Whoever cannot renew in time gives up before another may take over: the process ends.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from dataclasses import dataclass

import structlog

from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.clock import utc_now
from ascend_jobs.cluster.verbs import LEASES
from ascend_jobs.decide.plan import Manifest
from ascend_jobs.errors import ApiError

log = structlog.get_logger()


class LeaseLost(Exception):
    """The Lease could not be renewed in time, or another has it."""


@dataclass(frozen=True)
class Timing:
    """Seconds: how long a Lease holds, how long renewing may fail, between two tries."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


TIMING = Timing()


class Lease:
    """One candidate for one Lease."""

    def __init__(self, api: Api, namespace: str, name: str, identity: str = "", timing: Timing = TIMING) -> None:
        """Take where the Lease is and who we are; a random part is added, so that a restarted pod is somebody else."""
        self._api, self._namespace, self._name, self._timing = api, namespace, name, timing
        self.identity = f"{identity or socket.gethostname()}_{secrets.token_hex(4)}"
        self._seen: tuple[str, float] = ("", float("-inf"))
        self._version = ""

    async def acquire(self) -> None:
        """Wait until the Lease is ours; the API server's failures are outlived."""
        while True:
            try:
                if await self._taken():
                    log.info("lease acquired", identity=self.identity)
                    return
            except ApiError as error:
                log.warning("lease not read", error=str(error))
            await asyncio.sleep(self._timing.retry * random.uniform(1.0, 1.2))

    async def keep(self) -> None:
        """Renew for ever; raises LeaseLost."""
        renewed = _now()
        while True:
            await asyncio.sleep(self._timing.retry)
            left = renewed + self._timing.deadline - _now()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    if not await self._renewed():
                        raise LeaseLost("another process holds the lease")
                renewed = _now()
            except TimeoutError as error:
                raise LeaseLost(f"not renewed within {self._timing.deadline:.0f} s") from error
            except ApiError as error:
                log.warning("lease not renewed", error=str(error))

    async def release(self) -> None:
        """Give the Lease back, so that the next takes over at once."""
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
        try:
            await self._write(spec)
            log.info("lease released", identity=self.identity)
        except ApiError as error:
            log.warning("lease not released", error=str(error))

    async def _renewed(self) -> bool:
        """Renew the Lease that we hold; say whether it is still ours."""
        try:
            return await self._write({"renewTime": self._time()})
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return await self._taken()

    async def _taken(self) -> bool:
        """Take the Lease if it is not there, free, run out or ours; say whether it is ours now."""
        try:
            found = await self._api.get(LEASES, self._namespace, self._name)
        except ApiError as error:
            if error.status != 404:
                raise
            return await self._made()
        self._version = found["metadata"]["resourceVersion"]
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._has_run_out(spec):
            return False
        try:
            return await self._write(self._spec(int(spec.get("leaseTransitions") or 0) + (holder != self.identity)))
        except ApiError as error:
            if error.status != 409:
                raise
            return False

    async def _made(self) -> bool:
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(0),
        }
        try:
            self._version = (await self._api.create(LEASES, self._namespace, manifest))["metadata"]["resourceVersion"]
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    async def _write(self, spec: Manifest) -> bool:
        """Patch the Lease if nobody wrote it since we looked; 409 otherwise."""
        patch = {"metadata": {"resourceVersion": self._version}, "spec": spec}
        answer = await self._api.patch(LEASES, self._namespace, self._name, patch)
        self._version = answer["metadata"]["resourceVersion"]
        return True

    def _spec(self, transitions: int) -> Manifest:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._timing.duration),
            "acquireTime": self._time(),
            "renewTime": self._time(),
            "leaseTransitions": transitions,
        }

    def _has_run_out(self, spec: Manifest) -> bool:
        """Say whether the Lease was seen unchanged for as long as it holds."""
        sight = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        if sight != self._seen[0]:
            self._seen = (sight, _now())
        return _now() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._timing.duration)

    def _time(self) -> str:
        """Return the time as metav1.MicroTime."""
        return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _now() -> float:
    return asyncio.get_running_loop().time()
