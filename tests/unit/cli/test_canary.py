"""`ascendctl promote` and `abort`: what they write, and when they refuse."""

from typing import Any

import pytest
from ascend_jobs.cli import exits
from ascend_jobs.cli.main import main
from unit.cli.answers import GROUP, Api

FAQ = f"{GROUP}/inferenceservices/faq"
CANARY = {"model": {"fromJob": "tuned"}, "weight": 10}
SERVING = {"canary": {"weight": 10}}


def service(canary: dict[str, Any] | None = CANARY, status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "ascendjobs.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {
            "name": "faq",
            "namespace": "team-a",
            "uid": "u",
            "resourceVersion": "77",
            "creationTimestamp": "2026-01-01T12:00:00Z",
        },
        "spec": {"model": {"uri": "pvc://models/base"}, **({"canary": canary} if canary else {})},
        "status": status or {},
    }


def run(api: Api, *words: str) -> tuple[int, list[Any]]:
    code = main([*words, *api.arguments])
    return code, [body for method, _, body in api.asked if method == "PATCH"]


@pytest.mark.parametrize(
    ("words", "status", "spec"),
    [
        (("promote", "aisvc/faq"), SERVING, {"model": {"uri": None, "fromJob": "tuned"}, "canary": None}),
        (("promote", "faq", "--force"), {}, {"model": {"uri": None, "fromJob": "tuned"}, "canary": None}),
        (("abort", "aisvc/faq"), {}, {"canary": None}),
    ],
)
def test_what_is_written(api, words, status, spec):
    api.objects(service(status=status))
    api.answers["PATCH", FAQ] = service()
    code, patches = run(api, *words)
    assert code == exits.OK
    assert patches == [{"metadata": {"resourceVersion": "77"}, "spec": spec}]


@pytest.mark.parametrize(
    ("words", "canary", "status", "message"),
    [
        (("promote", "aisvc/faq"), None, {}, "has no canary"),
        (("abort", "aisvc/faq"), None, {}, "has no canary"),
        (("promote", "aisvc/faq"), CANARY, {}, "it has not answered yet; --force"),
        (
            ("promote", "aisvc/faq"),
            CANARY,
            {"canary": {"weight": 0, "message": "revision 2 was given up (OutOfMemory)"}},
            "OutOfMemory",
        ),
    ],
)
def test_refusals(api, capsys, words, canary, status, message):
    api.objects(service(canary, status))
    assert run(api, *words) == (exits.FAILED, [])
    assert message in capsys.readouterr().err


def test_a_canary_that_was_paused_may_be_promoted(api):
    api.objects(service({**CANARY, "weight": 0}, {"canary": {"weight": 0}}))
    api.answers["PATCH", FAQ] = service()
    assert run(api, "promote", "aisvc/faq")[0] == exits.OK


def test_who_came_in_between_is_told(api, capsys):
    api.objects(service(status=SERVING))
    api.answers["PATCH", FAQ] = {"kind": "Status", "code": 409, "message": "the object has been modified"}
    assert run(api, "promote", "aisvc/faq")[0] == exits.CLUSTER
    assert "has been modified" in capsys.readouterr().err
