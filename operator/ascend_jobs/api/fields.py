"""What specs of several kinds share: locations, quantities, resources."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ascend_jobs.api.base import Model

NPU_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Counts for one pod that some family allows (domain/accelerators.py); the schema refuses the others."""

Uri = Annotated[
    str,
    Field(min_length=8, max_length=1024, pattern=r"^(file:///|pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/|$))"),
]
PvcUri = Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/|$)")]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|[kKMGTPE]i?)?$")]


class Resources(Model):
    """What a pod requests beside NPUs; absent: its NPUs' share of the smallest node that has them."""

    cpu: Quantity | None = Field(None, description='CPU, such as "24" or "500m".')
    memory: Quantity | None = Field(None, description="Memory, such as 100Gi; also the limit.")
    shared_memory: Quantity | None = Field(
        None, description="Size of /dev/shm, such as 16Gi; unlimited within memory when absent."
    )


class ImagePullSecret(Model):
    """Name of a Secret."""

    name: str = Field(
        min_length=1, max_length=253, description="Name of a Secret of type kubernetes.io/dockerconfigjson."
    )
