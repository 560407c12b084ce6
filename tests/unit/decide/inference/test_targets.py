"""How many pods of the old and the new version there are, step by step."""

import pytest
from ascend_jobs.api.inferenceservice import Rollout
from ascend_jobs.decide.inference.candidate import Stage
from ascend_jobs.decide.inference.workloads import Count, targets

SURGE, ROOM = Rollout(), Rollout(max_surge=0, max_unavailable=1)
WIDE = Rollout(max_surge=2, max_unavailable=1)


@pytest.mark.parametrize(
    ("rollout", "wanted", "old", "new", "stage", "want"),
    [
        pytest.param(SURGE, 3, (3, 3), (0, 0), None, (3, 0), id="no-candidate"),
        pytest.param(SURGE, 3, (3, 3), (0, 0), Stage.INSPECTING, (3, 0), id="inspecting-takes-no-npu"),
        pytest.param(SURGE, 3, (3, 3), (0, 0), Stage.PROVING, (3, 1), id="proving-beside"),
        pytest.param(SURGE, 3, (3, 3), (1, 1), Stage.GATING, (3, 1), id="gating-beside"),
        pytest.param(SURGE, 3, (3, 3), (1, 1), Stage.SHIFTING, (2, 1), id="one-goes-for-the-one-that-is-ready"),
        pytest.param(SURGE, 3, (2, 2), (1, 1), Stage.SHIFTING, (2, 2), id="then-one-comes"),
        pytest.param(SURGE, 3, (2, 2), (2, 1), Stage.SHIFTING, (2, 2), id="waits-until-it-is-ready"),
        pytest.param(SURGE, 3, (0, 0), (3, 3), Stage.SHIFTING, (0, 3), id="done"),
        pytest.param(ROOM, 1, (1, 1), (0, 0), Stage.PROVING, (0, 0), id="room-is-made-first"),
        pytest.param(ROOM, 1, (0, 0), (0, 0), Stage.PROVING, (0, 1), id="then-it-comes"),
        pytest.param(ROOM, 3, (2, 2), (1, 1), Stage.SHIFTING, (1, 1), id="never-fewer-than-two-ready"),
        pytest.param(WIDE, 4, (4, 4), (1, 1), Stage.SHIFTING, (2, 2), id="both-allowances"),
    ],
)
def test_targets(rollout, wanted, old, new, stage, want):
    assert targets(rollout, wanted, Count(*old), Count(*new), stage, alone=False) == want


@pytest.mark.parametrize(("stage", "want"), [(Stage.INSPECTING, 0), (Stage.PROVING, 1), (Stage.SHIFTING, 3)])
def test_the_first_version_proves_itself_with_one(stage, want):
    assert targets(SURGE, 3, Count(0, 0), Count(0, 0), stage, alone=True)[1] == want
