"""Which direction of a metric is better, as gates and names tell it."""

from __future__ import annotations

import pytest

from kernel_gateway.projections.directions import better_direction, gate_sign, has_fixed_bound


@pytest.mark.parametrize(
    ("expression", "sign"),
    [
        ("acc >= 0.9", ">="),
        ("max(acc) > baseline", ">"),
        ("'acc' < 1", "<"),
        ("0.9 <= acc", ">="),
        ("acc2 >= 1", ""),
        ("acc == 1", ""),
        ("loss < 1", ""),
    ],
)
def test_a_gate_tells_on_which_side_of_a_bound_a_metric_should_be(expression: str, sign: str) -> None:
    assert gate_sign("acc", expression) == sign


def test_only_bounds_that_are_plain_numbers_are_drawn_across_earlier_runs() -> None:
    gates = ("acc >= 0.9", "90 % <= acc", "acc >= baseline * 0.9", "last(acc) > first(acc)", "0.1 < acc < 0.9")

    assert [has_fixed_bound("acc", gate) for gate in gates] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("loss", 1),
        ("f1", 1),
        ("val loss", -1),
        ("x", 1),
        ("accuracy", 1),
    ],
)
def test_the_first_gate_that_tells_counts_more_than_the_name(name: str, better: int) -> None:
    gates = ["nonsense", "accuracy == 1", "loss >= 1", "loss < 9", "f1 > champion"]
    gates += ["last(val loss) <= first(val loss)", "3 < x"]

    assert better_direction(name, gates) == better


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("accuracy", 1),
        ("val/F1", 1),
        ("ndcg@10", 1),
        ("test_loss", -1),
        ("RMSE", -1),
        ("drift score", 0),
        ("data-drift", -1),
        ("fid", -1),
        ("nll", -1),
        ("brier", -1),
        ("epochs", 0),
        ("rows", 0),
        ("loss score", 0),
        ("lossless", 0),
        ("terror", 0),
    ],
)
def test_words_of_a_name_tell_what_is_better_unless_they_disagree(name: str, better: int) -> None:
    assert better_direction(name, []) == better
