from dataclasses import replace
from pathlib import Path

import pytest
from support.full_disks import run_on_small_disk

from reidhub.errors import DatasetError
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.plan import Plan, Shard
from reidhub.retrieval.planning import extend_plan


def _inputs(*numbers: int) -> list[Input]:
    return [Input(f"crops/{number:05d}.jpg", 1000 + number, 7) for number in numbers]


def _complete(folder: EmbeddingsFolder, shard: Shard) -> None:
    folder.shard_path(shard).touch()


def test_a_plan_gives_back_every_input_in_order_in_shards_of_a_thousand(tmp_path: Path) -> None:
    inputs = [
        Input("a.jpg", 5, 1_700_000_000_123_456_789),
        Input("frames/000001.jpg", 5, 2, (0.0, 1.5, 20.0, 30.25), "12"),
        Input("shard.tar/b.jpg", 9, 3, None, None, "shard.tar", 1536),
        Input("name\udcff.jpg", 4, 4),
        *_inputs(*range(1200)),
    ]

    planned = extend_plan(EmbeddingsFolder(tmp_path), inputs)

    plan = Plan(tmp_path)
    shards = list(plan.shards())
    assert [shard.size for shard in shards] == [1000, 204]
    assert [given for shard in shards for given in plan.read(shard)] == inputs
    assert (planned.new, len(plan)) == (1204, 1204)


def test_a_later_plan_has_the_new_inputs_alone(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(1, 2, 3))
    before = (tmp_path / "_plan" / "0000.arrow").read_bytes()

    planned = extend_plan(folder, _inputs(0, 1, 2, 3, 4))

    assert (planned.new, planned.known) == (2, 3)
    assert list(folder.plan.read_all(1)) == _inputs(0, 4)
    assert (tmp_path / "_plan" / "0000.arrow").read_bytes() == before


def test_the_same_inputs_again_make_no_plan_and_leave_no_files(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(1, 2))

    extend_plan(folder, _inputs(2, 1))

    assert [path.name for path in (tmp_path / "_plan").iterdir()] == ["0000.arrow"]


def test_an_input_that_is_given_twice_is_planned_once(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)

    planned = extend_plan(folder, _inputs(1, 2, 1, 1))

    assert (planned.new, planned.repeated) == (2, 2)
    assert list(folder.plan.read_all(0)) == _inputs(1, 2)


def test_two_boxes_of_one_image_are_two_inputs(tmp_path: Path) -> None:
    [image] = _inputs(1)
    boxes = [replace(image, box=(0.0, 0.0, 10.0, 20.0)), replace(image, box=(0.0, 0.0, 10.0, 20.5)), image]

    assert extend_plan(EmbeddingsFolder(tmp_path), boxes).new == 3


def test_the_boxes_of_an_image_are_planned_together(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    boxes = [replace(given, box=(float(n), 0.0, 9.0, 9.0)) for n in range(3) for given in _inputs(2, 1)]

    extend_plan(folder, boxes, by_image=True)

    planned = [(Path(given.path).stem[-1], given.box and given.box[0]) for given in folder.plan.read_all(0)]
    assert planned == [("1", 0), ("1", 1), ("1", 2), ("2", 0), ("2", 1), ("2", 2)]


def test_a_changed_file_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(1, 2))
    changed = [replace(_inputs(1)[0], modified_ns=8), *_inputs(3)]

    with pytest.raises(DatasetError, match=r"images have changed .*\(1\):(?s:.*)crops/00001\.jpg(?s:.*)--update"):
        extend_plan(folder, changed)

    assert list(folder.plan.read_all(0)) == _inputs(1, 2)
    assert len(folder.plan.files) == 1


def test_update_corrects_the_plan_and_removes_only_the_embeddings_of_that_shard(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(*range(2500)))
    for shard in folder.plan.shards():
        _complete(folder, shard)
    changed = replace(_inputs(1500)[0], size=77)

    planned = extend_plan(folder, [changed, *_inputs(9999)], update=True)

    assert [folder.is_complete(shard) for shard in folder.plan.shards()] == [True, False, True, False]
    rows = list(folder.plan.read_all(0))
    assert rows[1500] == changed
    assert rows[:1500] + rows[1501:] == _inputs(*range(1500), *range(1501, 2500))
    assert (planned.changed, planned.new) == (1, 1)


def test_a_file_that_was_missing_and_is_there_now_needs_no_update(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    [there] = _inputs(1)
    extend_plan(folder, [replace(there, size=-1, modified_ns=0)])
    for shard in folder.plan.shards():
        _complete(folder, shard)

    extend_plan(folder, [there])

    assert list(folder.plan.read_all(0)) == [there]
    assert not folder.is_complete(Shard(0, 0, 1))


def test_a_file_that_is_gone_does_not_count_as_changed(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(1))

    extend_plan(folder, [replace(_inputs(1)[0], size=-1, modified_ns=0)])

    assert list(folder.plan.read_all(0)) == _inputs(1)


def test_the_files_of_a_planner_that_was_killed_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "_plan" / ".incoming-0123456789abcdef"
    left.parent.mkdir()
    left.write_bytes(b"half a plan")

    extend_plan(EmbeddingsFolder(tmp_path), _inputs(1))

    assert not left.exists()


def test_a_damaged_plan_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = EmbeddingsFolder(tmp_path)
    extend_plan(folder, _inputs(*range(10)))
    path = tmp_path / "_plan" / "0000.arrow"
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(DatasetError, match=r"0000\.arrow is damaged"):
        folder.plan.files  # noqa: B018


FULL = """
import sys
from pathlib import Path
from reidhub.errors import DiskFullError
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.planning import extend_plan

inputs = [Input(f"crops/{number:05d}.jpg", number, number) for number in range(40_000)]
folder = Path(sys.argv[1])
try:
    extend_plan(EmbeddingsFolder(folder), inputs)
except DiskFullError as error:
    print(error.message)
print([path.name for path in folder.rglob("*") if path.is_file()])
"""


def test_a_full_disk_ends_planning_with_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, 200, FULL)

    message, left = done.stdout.splitlines()
    assert "cannot write the" in message and "disk is full" in message
    assert left == "[]"
