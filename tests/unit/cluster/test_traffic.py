"""What HAProxy's statistics say of each version."""

import pytest
from ascend_jobs.cluster.traffic import parse_traffic
from ascend_jobs.decide.inference.observed import TrafficView

HEAD = "# pxname,svname,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,srv_abrt,ttime,\n"


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        pytest.param("", {}, id="none"),
        pytest.param(
            "stable,pods,9,9,9,9,9,9,9,9,\nstable,BACKEND,0,90,0,4,5,1,2,250,\ncanary,BACKEND,0,10,0,0,0,0,0,400,\n",
            {"stable": TrafficView(100, 8, 250.0), "canary": TrafficView(10, 0, 400.0)},
            id="both",
        ),
        pytest.param("public,FRONTEND,0,9,0,0,0,0,0,,\nmetrics,BACKEND,0,9,0,0,0,0,0,1,\n", {}, id="others"),
        pytest.param("stable,BACKEND,,7,,-,x,,,\n", {"stable": TrafficView(7, 0, 0.0)}, id="odd"),
    ],
)
def test_rows(rows, wanted):
    assert parse_traffic(HEAD + rows) == wanted


def test_a_page_of_somebody_else():
    with pytest.raises(ValueError, match="HAProxy"):
        parse_traffic("<html>")
