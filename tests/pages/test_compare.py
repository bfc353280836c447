"""Runs side by side: what differs, what is best, and what belongs together."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from kernel_gateway.api.pages.comparison import Compared, Comparison, Row, compare_runs
from kernel_gateway.api.pages.embed import Figure, figures
from kernel_gateway.events import EventType
from kernel_gateway.store.records import NewRun, RunRecord, columns_of
from tests.api.conftest import Service

from .conftest import Reader
from .test_pages import MISSING, PNG


def a_record() -> RunRecord:
    """Any run."""
    columns = columns_of(NewRun(id=MISSING, name="train")) | {"created": datetime.now(UTC)}
    fields = RunRecord.__dataclass_fields__
    values: dict[str, Any] = {name: columns.get(name) for name in fields}
    return RunRecord(**values)


def comparison(*facts: dict[str, Any], figures: tuple[list[Figure], ...] = ()) -> Comparison:
    """Runs with these records compared."""
    images = [*figures, *([[]] * (len(facts) - len(figures)))]
    return compare_runs([Compared(a_record(), one, images[index]) for index, one in enumerate(facts)])


def metrics(**values: Any) -> dict[str, Any]:
    """A record with these last values."""
    return {"metrics": {name: {"last": value, "steps": []} for name, value in values.items()}}


def marks(row: Row) -> list[bool]:
    """Which of a row's cells are the best."""
    return [cell.is_best for cell in row.cells]


def test_differences_are_to_the_first_run_and_the_best_is_marked() -> None:
    shown = comparison(metrics(accuracy=0.9, loss=0.4), metrics(accuracy=0.95, loss=0.5), metrics(accuracy=0.95))

    accuracy, loss = shown.metrics
    assert [run.letter for run in shown.runs] == ["A", "B", "C"]
    assert accuracy.cells[0].change is None
    assert accuracy.cells[1].change == pytest.approx(0.05)
    assert marks(accuracy) == [False, True, True]
    assert marks(loss) == [True, False, False]
    assert loss.cells[2].value is None
    assert loss.cells[2].change is None


def test_a_gate_tells_what_is_better_and_counts_more_than_the_name() -> None:
    gates = {"gates": [{"expression": "max(error_budget) >= 1", "value": 2, "passed": True}]}

    shown = comparison(metrics(error_budget=1.0) | gates, metrics(error_budget=2.0))

    assert marks(shown.metrics[0]) == [False, True]


def test_nothing_is_best_where_nobody_can_tell_or_all_are_the_same() -> None:
    assert marks(comparison(metrics(thing=1.0), metrics(thing=2.0)).metrics[0]) == [False, False]
    assert marks(comparison(metrics(loss=1.0), metrics(loss=1.0)).metrics[0]) == [False, False]
    odd = comparison(metrics(loss="NaN"), metrics(loss=1.0), metrics(loss="x"), metrics(loss="-Infinity"))
    assert marks(odd.metrics[0]) == [False, False, False, False]
    assert [cell.value for cell in odd.metrics[0].cells] == ["NaN", 1.0, "x", "-Infinity"]
    assert [cell.change for cell in odd.metrics[0].cells] == [None] * 4


def test_packages_are_shown_where_they_differ_and_parameters_always() -> None:
    first = {"parameters": {"lr": 0.1, "same": "x"}, "packages": {"numpy": "2.1", "flask": "3.1"}}
    second = {"parameters": {"lr": [1], "same": "x"}, "packages": {"numpy": "2.2", "flask": "3.1", "extra": "1"}}

    shown = comparison(first, second)

    assert [(row.name, row.differs) for row in shown.parameters] == [("lr", True), ("same", False)]
    assert [row.name for row in shown.packages] == ["numpy", "extra"]
    assert [cell.value for cell in shown.packages[1].cells] == [None, "1"]


def test_curves_of_a_metric_share_their_axes() -> None:
    first = {"metrics": {"loss": {"last": 0, "steps": [[0, 1.0], [10, 0.0]]}, "once": {"last": 1, "steps": [[0, 1]]}}}
    second = {"metrics": {"loss": {"last": 0, "steps": [[0, 1e308], [5, "NaN"], [20, -1e308]]}}}

    (curve,) = comparison(first, second).curves

    assert (curve.name, curve.first, curve.last, curve.low, curve.high) == ("loss", 0, 20, -1e308, 1e308)
    assert [(letter, index) for letter, index, _ in curve.lines] == [("A", 0), ("B", 1)]
    numbers = re.findall(r"[\d.]+|nan|inf", " ".join(points for _, _, points in curve.lines))
    assert all(0 <= float(number) <= 480 for number in numbers)


def test_figures_of_the_same_cell_stand_in_one_row() -> None:
    def figure(place: str) -> Figure:
        return Figure(place, place.partition(" ")[0], f"/{place}", "")

    shown = comparison(
        {}, {}, figures=([figure("cell-1 1"), figure("cell-1 2")], [figure("cell-1 2"), figure("cell-3 1")])
    )

    assert [(caption, [one.source if one else None for one in row]) for caption, row in shown.figures] == [
        ("cell-1", ["/cell-1 1", None]),
        ("cell-1", ["/cell-1 2", "/cell-1 2"]),
        ("cell-3", [None, "/cell-3 1"]),
    ]


def test_records_that_are_gone_or_odd_are_compared_all_the_same() -> None:
    shown = comparison({}, {"parameters": None, "gates": None, "metrics": None, "git": None, "versions": None})

    assert shown.metrics == shown.gates == shown.packages == []


def test_figures_are_found_by_their_cell() -> None:
    html = (
        '<section><h2>Metrics</h2><figure><figcaption>loss</figcaption><img src="/c.svg"></figure></section>'
        '<section><article id="cell-3"><h3>2. Plot <em>it</em> <span>ok</span></h3><p><img src="/1.png" alt="one"></p>'
        '<h4>other</h4><img src="/2.png"></article><article id="cell-4"><h3>3</h3><img></article></section>'
    )

    assert figures(html) == [
        Figure("cell-3 1", "2. Plot it", "/1.png", "one"),
        Figure("cell-3 2", "2. Plot it", "/2.png", ""),
    ]


def make_run(service: Service, accuracy: float, *, end: bool) -> str:
    """A run with a gate, a curve and a figure."""
    id = service.new_run(parameters={"epochs": round(accuracy * 100)}, require=["accuracy >= 0.9"])
    service.start(id)
    for step in range(3):
        fields = {"name": "accuracy", "value": accuracy - 0.1 + step / 20, "step": step, "cell": 1}
        service.write(id, (EventType.METRIC, fields))
    display = {"cell": 1, "data": {"image/png": PNG}, "metadata": {}, "blobs": {}, "display_id": None}
    gate = {"expression": "accuracy >= 0.9", "value": accuracy, "bound": 0.9, "passed": accuracy >= 0.9, "message": ""}
    service.write(id, (EventType.DISPLAY, display), (EventType.GATE, gate))
    if end:
        service.end(id)
    return id


def test_runs_are_compared_while_they_go_on_and_afterwards(service: Service, reader: Reader) -> None:
    ids = [make_run(service, 0.85, end=True), make_run(service, 0.95, end=False)]

    for path in (
        f"/compare?runs={','.join(ids)}",
        f"/compare?runs={ids[0]}&runs={ids[1]}",
        f"/compare?runs={ids[0]},{ids[0]},{ids[1]}",
    ):
        page = reader.page(path)
        assert "★</span> 0.95" in page
        assert '<span class="page-change">+0.1</span>' in page
        assert "not met" in page
        assert "passed" in page
        assert page.count("<polyline") == 2
        images = re.findall(r'<img src="(/runs/[^"]+)"', page)
        assert [image.split("/")[2] for image in images] == ids
        assert all(reader.get(image).mimetype == "image/png" for image in images)


def test_a_run_whose_results_were_removed_is_compared_by_what_is_left(service: Service, reader: Reader) -> None:
    ids = [service.new_run(), service.new_run()]
    (service.data.run(ids[0]) / "events.jsonl").unlink()

    assert "its results have been removed" in reader.page(f"/compare?runs={','.join(ids)}")


@pytest.mark.parametrize("ids", [MISSING, "x", "../etc", f"{MISSING},x", "\0"])
def test_a_run_that_is_not_there_is_404(service: Service, reader: Reader, ids: str) -> None:
    answer = reader.get("/compare", query_string={"runs": f"{service.new_run()},{ids}"})

    assert answer.status_code == 404
    assert "There is no run" in answer.text


def test_fewer_than_two_runs_say_how_to_choose_and_too_many_are_refused(service: Service, reader: Reader) -> None:
    id = service.new_run()
    for query in ("", "?runs=", f"?runs={id}", f"?runs={id},{id}"):
        assert "Choose two runs or more" in reader.page(f"/compare{query}")

    assert reader.get("/compare?runs=" + ",".join(map(str, range(9)))).status_code == 422
