"""Chip families: recognised by labels, each with its counts."""

import pytest
from ascend_jobs import names
from ascend_jobs.api.finetunejob import NPU_COUNTS
from ascend_jobs.domain.accelerators import FAMILIES, allowed_counts, families_of, family_of, resource_of


@pytest.mark.parametrize(
    ("labels", "allowed", "refused"),
    [
        pytest.param({names.ACCELERATOR_TYPE_LABEL: "module"}, {1, 2, 4, 8}, {3, 5, 6, 7}, id="910A"),
        pytest.param({names.CHIP_NAME_LABEL: "910ProB"}, {4}, {3}, id="910A-by-chip"),
        pytest.param({names.ACCELERATOR_TYPE_LABEL: "module-910b-8"}, {3, 7}, {10, 16}, id="A2"),
        pytest.param({names.CHIP_NAME_LABEL: "910B3"}, {3}, {16}, id="A2-by-chip"),
        pytest.param({names.ACCELERATOR_TYPE_LABEL: "module-910b-16"}, {7, 10, 16}, {9, 11}, id="box16"),
        pytest.param({names.ACCELERATOR_TYPE_LABEL: "module-a3-16"}, {1, 2, 16}, {3, 15}, id="A3"),
    ],
)
def test_counts(labels, allowed, refused):
    family = family_of(labels)
    assert family is not None
    assert allowed <= family.counts
    assert not refused & family.counts


def test_unknown_labels_allow_what_any_family_allows():
    assert family_of({}) is None
    assert allowed_counts(families_of([{}])) == set(NPU_COUNTS)


def test_schema_allows_exactly_what_some_family_allows():
    assert set(NPU_COUNTS) == allowed_counts(FAMILIES)


def test_resource_is_the_one_that_nodes_offer():
    assert resource_of([]) == names.ASCEND_910
    assert resource_of([{names.CCE_ASCEND_1980: 8}, {names.ASCEND_910: 0}]) == names.CCE_ASCEND_1980
