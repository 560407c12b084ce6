"""Who waits for whom by name."""

import pytest
from ascend_jobs.cluster.needs import Needs, needed
from ascend_jobs.cluster.store import Key

SERVICE, JOB, CHECK = Key("aisvc", "a", "s"), Key("ftj", "a", "j"), Key("evj", "a", "e")


@pytest.mark.parametrize(
    ("key", "spec", "want"),
    [
        (SERVICE, {"model": {"fromJob": "j"}, "canary": {"model": {"fromJob": "k"}}}, {JOB, Key("ftj", "a", "k")}),
        (SERVICE, {"model": {"uri": "pvc://x/y"}, "rollout": {"gate": {"evaluation": "e"}}}, {CHECK}),
        (CHECK, {"target": {"service": "s"}, "baseline": {"service": "s"}}, {SERVICE}),
        (CHECK, {"target": "odd", "baseline": None}, set()),
        (SERVICE, {"model": {"fromJob": 7}, "rollout": []}, set()),
        (JOB, {"model": {"fromJob": "x"}}, set()),
    ],
)
def test_needed(key, spec, want):
    assert set(needed(key, {"spec": spec})) == want


def test_the_index_follows_every_change():
    needs = Needs()
    needs.keep(SERVICE, {"spec": {"model": {"fromJob": "j"}}})
    assert needs.dependents(JOB) == (SERVICE,)
    needs.keep(SERVICE, {"spec": {"model": {"fromJob": "k"}}})
    assert needs.dependents(JOB) == ()
    needs.keep(SERVICE, None)
    assert needs.dependents(Key("ftj", "a", "k")) == ()
    assert needs._dependents == {} and needs._needed == {}
