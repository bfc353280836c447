"""The executed notebook, judged by nbformat and by papermill's own readers."""

from __future__ import annotations

import base64
import json
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kernel_gateway.projections.notebook import ERROR_TAG, Notebook
from kernel_gateway.settings import Settings
from tests.projections.conftest import PNG, Log, code, markdown


def notebook(log: Log, settings: Settings | None = None) -> Any:
    """The notebook of a log, read and validated by nbformat."""
    projection = Notebook(settings or Settings(), log.blobs)
    for event in log.events:
        projection.feed(event)
    text = projection.result()
    assert projection.result() == text, "a result must not consume anything"
    nbformat.validate(json.loads(text))
    return nbformat.reads(text, as_version=4)


def running(*cells: dict[str, Any]) -> Log:
    return Log(*(cells or (code("x", "One"), code("y", "Two")))).start().cell(0)


def outputs(log: Log, cell: int = 0) -> Any:
    return notebook(log).cells[cell].outputs


def test_a_realistic_run_becomes_a_valid_notebook_with_all_its_cells(rich_log: Log) -> None:
    made = notebook(rich_log)

    kinds = [cell.cell_type for cell in made.cells if ERROR_TAG not in cell.metadata.get("tags", [])]
    assert kinds == ["markdown"] + ["code"] * 7
    assert made.nbformat_minor == 5
    assert made.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert made.metadata.kernel_gateway == {
        "run": "run-1",
        "status": "failed",
        "reason": "Cell 5 (Check the data) failed: ValueError: no data",
    }


def test_the_text_is_written_as_nbformat_writes_it(rich_log: Log) -> None:
    projection = Notebook(Settings(), rich_log.blobs)
    for event in rich_log.events:
        projection.feed(event)

    read = nbformat.reads(projection.result(), as_version=4)
    assert projection.result() == nbformat.writes(read) + "\n"


def test_adjacent_chunks_of_one_stream_are_one_output_with_carriage_returns_folded() -> None:
    log = running().print("a\n").print("10%").print("\r20%").print("err\n", name="stderr").print("b\n")

    assert [(out.name, out.text) for out in outputs(log)] == [
        ("stdout", "a\n20%"),
        ("stderr", "err\n"),
        ("stdout", "b\n"),
    ]


def test_clear_output_empties_the_cell_at_once_or_with_the_next_output() -> None:
    log = running().print("one").add("clear_output", cell=0, wait=True)
    assert [out.text for out in outputs(log)] == ["one"]

    log.print("two")
    assert [out.text for out in outputs(log)] == ["two"]

    log.add("clear_output", cell=0, wait=False)
    assert outputs(log) == []


def test_an_update_replaces_every_display_with_its_id_in_whichever_cell() -> None:
    log = running().display({"text/plain": "old"}, display_id="d").display({"text/plain": "other"}, display_id="e")
    log.done(0).cell(1).display({"text/plain": "second"}, cell=1, display_id="d")
    assert outputs(log)[0].data == {"text/plain": "second"}

    log.display({"text/plain": "new"}, type="display_update", cell=1, display_id="d", metadata={"a": 1})
    made = notebook(log)
    assert [out.data["text/plain"] for cell in made.cells for out in cell.outputs] == ["new", "other", "new"]
    assert made.cells[0].outputs[0].metadata == {"a": 1}


def test_an_update_of_a_cleared_display_brings_nothing_back() -> None:
    log = running().display({"text/plain": "old"}, display_id="d").add("clear_output", cell=0, wait=False)
    log.display({"text/plain": "new"}, type="display_update", display_id="d")

    assert outputs(log) == []


def test_results_carry_their_execution_count_and_errors_their_traceback() -> None:
    log = running().display({"text/plain": "1"}, type="result", execution_count=7).error(0).done(0, "error")
    made = notebook(log).cells
    cell = next(cell for cell in made if cell.cell_type == "code")

    assert cell.execution_count == 1
    assert cell.outputs[0].output_type == "execute_result"
    assert cell.outputs[0].execution_count == 7
    assert (cell.outputs[1].ename, cell.outputs[1].evalue) == ("ValueError", "no data")
    assert cell.outputs[1].traceback[0].startswith("\x1b[31mTraceback")


def test_late_output_is_kept_in_its_cell_or_in_the_one_that_started_last() -> None:
    log = running().done(0).cell(1).print("late of one\n", cell=0).print("of nobody\n", cell=None).done(1)

    assert outputs(log, 0)[0].text == "late of one\n"
    assert outputs(log, 1)[0].text == "of nobody\n"


def test_blobs_are_put_back_by_their_encoding() -> None:
    log = running()
    image = base64.b64decode(PNG)
    references = {
        "image/png": log.blob(image, "base64"),
        "text/html": log.blob("<b>Größe</b>\n".encode(), "utf-8"),
        "application/json": log.blob(b'{"a": [1]}', "json"),
    }
    log.display({"text/plain": "x"}, blobs=references)

    data = outputs(log)[0].data
    assert data["image/png"] == PNG + "\n"
    assert data["text/html"] == "<b>Größe</b>\n"
    assert data["application/json"] == {"a": [1]}


def test_a_missing_blob_becomes_a_remark_and_the_notebook_stays_valid() -> None:
    log = running().display({"text/plain": "x"}, blobs={"image/png": {"sha256": "0", "size": 9, "encoding": "base64"}})

    assert outputs(log)[0].data["text/plain"] == "x\n[image/png 9 B could not be read back]"


def test_values_that_nbformat_refuses_are_made_text() -> None:
    log = running().display({"text/plain": {"not": "text"}, "application/x+json": {"is": "fine"}})

    assert outputs(log)[0].data == {"text/plain": '{"not": "text"}', "application/x+json": {"is": "fine"}}


def test_timing_has_nbclients_keys() -> None:
    log = running().done(0, seconds=2.0)
    execution = notebook(log).cells[0].metadata.execution

    assert execution == {
        "iopub.status.busy": "2026-11-21T03:00:00.000000Z",
        "iopub.execute_input": "2026-11-21T03:00:00.000000Z",
        "shell.execute_reply": "2026-11-21T03:00:02.000000Z",
        "iopub.status.idle": "2026-11-21T03:00:02.000000Z",
    }
    assert "execution" not in notebook(log).cells[1].metadata


def test_papermills_keys_stand_in_the_notebook_and_in_every_cell(rich_log: Log) -> None:
    made = notebook(rich_log)
    keys = {"default_parameters", "parameters", "environment_variables", "version", "input_path", "output_path"}

    assert set(made.metadata.papermill) == keys | {"start_time", "end_time", "duration", "exception"}
    assert made.metadata.papermill.parameters == {"epochs": 3}
    assert made.metadata.papermill.exception is True
    cells = {cell.id: cell.metadata.papermill for cell in made.cells if ERROR_TAG not in cell.metadata.tags}
    assert all(set(cell) == {"duration", "end_time", "exception", "start_time", "status"} for cell in cells.values())
    assert [cells[f"cell-{n}"].status for n in range(8)] == [
        "completed",
        "completed",
        "completed",
        "completed",
        "completed",
        "completed",
        "failed",
        "pending",
    ]
    assert cells["cell-6"].exception is True
    assert cells["cell-2"].duration == 20.0


def test_a_cell_at_work_is_running_and_after_success_all_are_completed() -> None:
    log = Log(markdown("hi"), code("x", "X")).start().cell(1)
    assert [cell.metadata.papermill.status for cell in notebook(log).cells] == ["completed", "running"]

    log.done(1).end()
    assert [cell.metadata.papermill.status for cell in notebook(log).cells] == ["completed", "completed"]


def test_cells_behind_the_one_that_ended_the_program_stay_pending() -> None:
    log = Log(code("exit()", "End"), code("x", "X"), markdown("bye")).start().cell(0).done(0).end()
    papermill = [cell.metadata.papermill for cell in notebook(log).cells]

    assert [cell.status for cell in papermill] == ["completed", "pending", "completed"]
    assert [cell.exception for cell in papermill] == [False, None, False]


def test_papermills_readers_accept_the_notebook(rich_log: Log, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from papermill.exceptions import PapermillExecutionError
        from papermill.execute import raise_for_execution_errors, remove_error_markers
        from papermill.inspection import inspect_notebook
        from papermill.iorw import load_notebook_node

        path = tmp_path / "executed.ipynb"
        projection = Notebook(Settings(), rich_log.blobs)
        for event in rich_log.events:
            projection.feed(event)
        path.write_text(projection.result())

        made = load_notebook_node(str(path))
        assert made.metadata.papermill.parameters == {"epochs": 3}
        assert inspect_notebook(str(path))["epochs"]["default"] == "3"
        assert len(remove_error_markers(made).cells) == 8
        with pytest.raises(PapermillExecutionError, match=r"ZeroDivisionError|no data"):
            raise_for_execution_errors(made, str(path))


def test_the_failing_cell_is_announced_at_the_top_and_in_place(rich_log: Log) -> None:
    made = notebook(rich_log)
    marked = [index for index, cell in enumerate(made.cells) if ERROR_TAG in cell.metadata.get("tags", [])]

    assert marked == [0, 7]
    assert "#papermill-error-cell" in made.cells[0].source
    assert "In [5]" in made.cells[0].source
    assert 'id="papermill-error-cell"' in made.cells[7].source
    assert made.cells[8].source == "boom()"


def test_an_expected_exception_is_not_announced() -> None:
    log = Log(code("1/0", "Expected", tags=("raises-exception",))).start().cell(0).error(0).done(0, "error").end()

    assert len(notebook(log).cells) == 1


def test_an_allowed_error_is_not_announced_as_the_end_of_the_run() -> None:
    log = Log(code("1/0", "Allowed"), code("x", "X")).start().cell(0).error(0).done(0, "error").cell(1).done(1).end()

    assert [cell.source for cell in notebook(log).cells] == ["1/0", "x"]


@pytest.mark.parametrize(("status", "words"), [("timed_out", "timed out"), ("kernel_died", "kernel died")])
def test_the_cell_in_which_a_run_was_cut_is_announced_by_cause(status: str, words: str) -> None:
    log = running().done(0, "aborted").end(status, "because", 4)
    made = notebook(log)

    assert words in made.cells[1].source
    assert made.cells[2].metadata.papermill.status == "failed"


def test_widget_state_goes_to_the_notebooks_metadata(rich_log: Log) -> None:
    assert notebook(rich_log).metadata.widgets == {
        "application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}
    }


def test_a_cell_of_another_kernel_keeps_its_name() -> None:
    log = Log(code("1", "R", kernel="ir"), code("2", "P")).start().cell(0).done(0).end()
    made = notebook(log)

    assert made.cells[0].metadata.kernel == "ir"
    assert "kernel" not in made.cells[1].metadata


def test_the_kernel_that_ran_it_stands_in_the_kernelspec() -> None:
    log = Log(code("x", "X"))
    log.add("run_started", agent="a", kernel="py312", versions={})

    assert notebook(log).metadata.kernelspec == {"name": "py312", "display_name": "py312", "language": "python"}


def test_ids_that_nbformat_refuses_are_replaced_and_attachments_stay() -> None:
    image = {"a.png": {"image/png": PNG}}
    log = Log(code("a", id="same id"), code("b", id="same id"), markdown("![x](attachment:a.png)", attachments=image))
    made = notebook(log)

    assert [cell.id for cell in made.cells] == ["same-id", "same-id-2", "cell-2"]
    assert made.cells[2].attachments == image


def test_text_beyond_the_limit_loses_its_middle_with_a_remark() -> None:
    log = running()
    for number in range(5000):
        log.print(f"line {number:05}\n")
    log.error(0)
    made = notebook(log, Settings(notebook_limit=2000)).cells[-2]

    text = made.outputs[0].text
    assert text.startswith("line 00000\n")
    assert text.endswith("line 04999\n")
    assert "events.jsonl has them whole" in text
    assert len(text) < 2500
    assert made.outputs[1].output_type == "error"


def test_many_outputs_beyond_the_limit_are_left_out_with_their_number() -> None:
    log = running()
    for number in range(200):
        log.print(f"{number}\n", name=("stdout", "stderr")[number % 2])
    log.display({"text/plain": "last"})
    made = notebook(log, Settings(notebook_limit=4000)).cells[0].outputs

    remarks = [out for out in made if "left out" in out.get("text", "")]
    assert len(remarks) == 1
    missing = int(remarks[0].text.split()[1])
    assert len(made) - 1 + missing == 201
    assert made[0].text == "0\n"
    assert made[-1].data["text/plain"] == "last"
