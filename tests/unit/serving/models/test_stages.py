"""Server-Timing of requests for predictions."""

from yummy_feast.serving.models.stages import Stages


def test_stages_add_up_to_the_whole() -> None:
    stages = Stages(10.0)
    stages.decoded = 10.001
    stages.score(0.002, 5)
    stages.score(0.001, 2)
    assert stages.rows == 7
    assert stages.header(10.006) == (b"server-timing", b"decode;dur=1.000, score;dur=3.000, encode;dur=2.000")
    stages.fetched = 10.0015
    assert b"features;dur=0.500, score" in stages.header(10.006)[1]
    assert abs(sum(stages.seconds(10.006)) - 0.006) < 1e-9


def test_a_request_that_was_refused_while_it_was_decoded() -> None:
    assert Stages(1.0).header(1.5)[1] == b"decode;dur=500.000, score;dur=0.000, encode;dur=0.000"
