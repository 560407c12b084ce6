"""Ascend chip families: what a node of each kind allows, and the resource names that offer them.

Source: MindCluster docs/zh/scheduling, affinity scheduling (NPUs per pod by product) and 06_api/12_k8s.md (node
labels); Huawei Cloud CCE for huawei.com/ascend-1980. HBM: npu-smi's totals (32768 and 65536 MB), vLLM-Ascend's
tutorials (Atlas 800I A2 with 8 x 64 GB or 8 x 32 GB, Atlas 800 A3 with 16 x 64 GB). A new family is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ascend_jobs import names

RESOURCES = (names.ASCEND_910, names.CCE_ASCEND_1980)
"""Resource names of whole chips that count as NPUs here, the default first."""

_ANY_TO_8 = frozenset(range(1, 9))
_EVEN_TO_16 = frozenset({1, *range(2, 17, 2)})


@dataclass(frozen=True)
class Family:
    """One kind of node.

    `types` are values of label accelerator-type, `chips` beginnings of node.kubernetes.io/npu.chip.name; `counts` are
    the NPUs one pod may have; `ring` is the value of label ring-controller.atlas for its rank tables; `hbm_gib` is the
    memory of one NPU, of a die where a chip has two (exceptions: chip_hbm).
    """

    name: str
    types: tuple[str, ...]
    chips: tuple[str, ...]
    counts: frozenset[int]
    ring: str
    hbm_gib: int


FAMILIES = (
    Family(
        "Atlas 800 (910, 8 NPUs)",
        ("module",),
        ("910A", "910Pro", "910Premium"),
        frozenset({1, 2, 4, 8}),
        "ascend-910",
        32,
    ),
    Family("Atlas 800 (910, 4 NPUs)", ("half",), (), frozenset({1, 2, 4}), "ascend-910", 32),
    Family("Atlas 300T", ("card",), (), frozenset({1, 2}), "ascend-910", 32),
    Family("Atlas 800T A2 (910B, 8 NPUs)", ("module-910b-8",), ("910B",), _ANY_TO_8, "ascend-910b", 64),
    Family("Atlas 200T A2 Box16", ("module-910b-16",), (), _ANY_TO_8 | {10, 12, 14, 16}, "ascend-910b", 64),
    Family(
        "Atlas 800T A3 (16 dies)",
        ("module-a3-16", "module-a3-16-super-pod"),
        ("910C", "A3"),
        _EVEN_TO_16,
        "ascend-910b",
        64,
    ),
    Family(
        "Atlas A3 super pod (8 dies)", ("module-a3-8-super-pod",), (), frozenset({1, 2, 4, 6, 8}), "ascend-910b", 64
    ),
)
_SMALLER = {"910B4": 32}
"""Chips with less HBM than their family, in GiB; 910B4-1 has the family's again."""


def family_of(labels: Mapping[str, str]) -> Family | None:
    """Return a node's family by accelerator-type, else by chip name; None when the labels tell neither."""
    kind = labels.get(names.ACCELERATOR_TYPE_LABEL)
    chip = labels.get(names.CHIP_NAME_LABEL, "")
    by_type = next((f for f in FAMILIES if kind in f.types), None)
    return by_type or next((f for f in FAMILIES if chip and chip.startswith(f.chips)), None)


def chip_hbm(chip: str) -> int | None:
    """Return the HBM of one NPU in GiB by the chip's name (910B3; Ascend in front is fine), None for unknown chips."""
    name = chip.removeprefix("Ascend").strip()
    family = family_of({names.CHIP_NAME_LABEL: name})
    return None if family is None else _SMALLER.get(name, family.hbm_gib)


def families_of(nodes: Iterable[Mapping[str, str]]) -> tuple[Family, ...]:
    """Return the families of nodes (given by their labels), each once, in the order of FAMILIES."""
    found = {family.name for labels in nodes if (family := family_of(labels)) is not None}
    return tuple(f for f in FAMILIES if f.name in found)


def allowed_counts(families: Iterable[Family]) -> frozenset[int]:
    """Return the NPUs per pod that at least one of the families allows; of all families when none is given."""
    return frozenset().union(*(f.counts for f in tuple(families) or FAMILIES))


def resource_of(offers: Iterable[Mapping[str, int]]) -> str:
    """Return the resource name that offers the most NPUs (allocatable by resource name, one a node)."""
    rows = list(offers)
    return max(RESOURCES, key=lambda name: sum(row.get(name, 0) for row in rows))
