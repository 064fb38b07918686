"""`reidhub.embed` and ``reidhub embed``: folders of embeddings, in one process, in parts and after a kill."""

import json
import os
import random
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.verify_runs import command, environment, run_here

import reidhub
from reidhub.errors import DatasetError, UsageError
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.npz import check_size
from reidhub.retrieval.tables import Part

NAME, OTHER = "tiny.corridor", "tiny.hall"
TABLE = ["path", "box", "id", "embedding"]


def read(folder: Path) -> Part:
    parts = list(EmbeddingsFolder(folder).read_parts())
    return Part(
        [path for part in parts for path in part.paths],
        [box for part in parts for box in part.boxes],
        [label for part in parts for label in part.ids],
        np.concatenate([part.embeddings for part in parts]),
    )


def test_the_rows_are_the_embeddings_of_the_images_in_order(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 40)

    report = reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")

    rows = read(tmp_path / "out")
    assert rows.paths == paths
    assert rows.embeddings.tobytes() == reidhub.embedder(NAME)(paths).numpy().tobytes()
    assert (report.embedded, report.planned, report.unreadable, report.shards) == (40, 40, 0, 1)


def test_images_are_resized_with_the_filter_of_the_checkpoint_which_ranking_compares(
    tmp_path, write_crops, tiny_zoo, monkeypatch, capsys
):
    paths = write_crops(tmp_path / "crops", 5)
    manifest = tiny_zoo / "zoo.yaml"
    first, second = manifest.read_text().split(f"  - name: {OTHER}\n")
    second = second.replace("bilinear", "bicubic").replace(OTHER, NAME)  # the same file
    manifest.write_text(f"{first}  - name: {OTHER}\n{second}")
    resized = [np.asarray(Image.open(path).resize((32, 64), Image.Resampling.BICUBIC)) for path in paths]

    for name in (NAME, OTHER):
        reidhub.embed(name, tmp_path / "crops", tmp_path / name, device="cpu")
    done = run_here(monkeypatch, capsys, "rank", NAME, paths[0], "--gallery", str(tmp_path / OTHER))

    rows = read(tmp_path / OTHER)
    assert rows.embeddings.tobytes() == reidhub.embedder(NAME)(resized).numpy().tobytes()
    assert json.loads((tmp_path / OTHER / "_model.json").read_text())["interpolation"] == "bicubic"
    assert done.returncode != 0 and "interpolation: bicubic and bilinear" in done.stderr


def test_other_programs_read_the_columns_and_what_made_them(tmp_path, write_crops):
    write_crops(tmp_path / "crops", 3)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")

    table = pq.read_table(tmp_path / "out")

    assert table.column_names == TABLE
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[512]"
    assert str(table.schema.field("box").type) == "list<element: double>"  # Arrow 23 cannot read None of a fixed size
    made = json.loads(table.schema.metadata[b"reidhub"])
    assert (made["checkpoint"], made["precision"], made["height"], made["width"]) == (NAME, "fp32", 64, 32)
    assert made["engine"] == reidhub.embedder(NAME).engine
    assert made["sha256"] == json.loads((tmp_path / "out" / "_model.json").read_text())["sha256"]


def test_an_unreadable_image_is_listed_and_tried_again_and_all_others_are_embedded(
    tmp_path, write_crops, monkeypatch, capsys
):
    paths = write_crops(tmp_path / "crops", 30)
    good = Path(paths[7]).read_bytes()
    Path(paths[7]).write_bytes(b"no image")
    arguments = ("embed", NAME, str(tmp_path / "crops"), "-o", str(tmp_path / "out"), "--device", "cpu")

    done = run_here(monkeypatch, capsys, *arguments)

    assert done.returncode == 1
    assert f"{paths[7]} cannot be decoded: it is no image" in done.stderr
    listed = pq.read_table(tmp_path / "out" / "unreadable.parquet")
    assert listed.column_names == ["path", "reason"]
    assert listed.column("path").to_pylist() == [paths[7]]
    assert read(tmp_path / "out").paths == paths[:7] + paths[8:]

    Path(paths[7]).write_bytes(good)
    done = run_here(monkeypatch, capsys, *arguments)

    rows = read(tmp_path / "out")
    assert (done.returncode, rows.paths) == (0, paths)
    assert rows.embeddings.tobytes() == reidhub.embedder(NAME)(paths).numpy().tobytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_model.json",
        "_plan",
        "embeddings-0000-000000.parquet",
    ]


def test_a_part_of_torchrun_does_not_fail_for_an_unreadable_image(tmp_path, write_crops, monkeypatch, capsys):
    paths = write_crops(tmp_path / "crops", 3)
    Path(paths[1]).write_bytes(b"no image")
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    arguments = ("embed", NAME, str(tmp_path / "crops"), "-o", str(tmp_path / "out"), "--device", "cpu")

    part = run_here(monkeypatch, capsys, *arguments)
    named = run_here(monkeypatch, capsys, *arguments, "--shard", "0/2")

    assert (part.returncode, named.returncode) == (0, 1)
    assert f"{paths[1]} cannot be decoded" in part.stderr and "1 image could not be read" in part.stderr


@pytest.mark.long
def test_torchrun_embeds_all_parts_although_the_first_to_end_has_an_unreadable_image(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 2001)  # the third part has one image
    Path(paths[-1]).write_bytes(b"no image")
    program, *arguments = command("embed", NAME, str(tmp_path / "crops"), "-o", str(tmp_path / "out"))
    script = tmp_path / "part.py"
    script.write_text(arguments[1])
    torchrun = [program, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", str(script)]

    done = subprocess.run([*torchrun, *arguments[2:]], env=environment(), capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out").paths == paths[:-1]


def test_an_image_is_tried_again_even_if_its_size_and_time_are_the_same(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 5)
    good, bad = Path(paths[2]).read_bytes(), Path(paths[2])
    bad.write_bytes(bytes(len(good)))
    time_ns = bad.stat().st_mtime_ns
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    bad.write_bytes(good)
    os.utime(bad, ns=(time_ns, time_ns))

    report = reidhub.embed(NAME, [], tmp_path / "out", device="cpu")

    rows = read(tmp_path / "out")
    assert (report.embedded, report.unreadable, rows.paths) == (1, 0, paths)
    assert rows.embeddings.tobytes() == reidhub.embedder(NAME)(paths).numpy().tobytes()


def test_temporary_files_of_a_killed_run_are_removed(tmp_path, write_crops):
    write_crops(tmp_path / "crops", 2)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu", plan_only=True)
    folder = tmp_path / "out" / "_temporary"
    folder.mkdir()
    for target in ("embeddings-0000-000000.parquet", "0000-000000.parquet", "unreadable.parquet", "_model.json"):
        (folder / f".incoming-{target}-0123456789abcdef").write_bytes(b"half a file")

    reidhub.embed(NAME, [], tmp_path / "out", device="cpu")

    assert not folder.exists()


def test_an_image_that_stays_unreadable_fails_every_run_and_no_row_changes(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 5)
    Path(paths[2]).write_bytes(b"no image")
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    before = (tmp_path / "out" / "embeddings-0000-000000.parquet").read_bytes()

    report = reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")

    assert (report.embedded, report.unreadable) == (0, 1)
    assert (tmp_path / "out" / "embeddings-0000-000000.parquet").read_bytes() == before


def test_a_second_model_in_the_same_folder_is_refused(tmp_path, write_crops):
    write_crops(tmp_path / "crops", 2)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")

    with pytest.raises(UsageError, match=f"has embeddings of {NAME}, not of {OTHER}(?s:.*)sha256"):
        reidhub.embed(OTHER, tmp_path / "crops", tmp_path / "out", device="cpu")
    with pytest.raises(UsageError, match=f"{NAME}, but made in another way(?s:.*)precision: fp32 and exact"):
        reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu", precision="exact")


def test_new_images_are_added_and_the_others_are_not_embedded_again(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 5)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    times = {path: Path(path).stat().st_mtime_ns for path in paths}
    paths = write_crops(tmp_path / "crops", 8)
    for path, time_ns in times.items():
        os.utime(path, ns=(time_ns, time_ns))

    report = reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")

    assert (report.new, report.embedded, report.planned) == (3, 3, 8)
    assert read(tmp_path / "out").paths == paths


def test_a_changed_image_is_an_error_until_update_embeds_it_again(tmp_path, write_crops, drawn):
    paths = write_crops(tmp_path / "crops", 5)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    Path(paths[1]).write_bytes(drawn[9])

    with pytest.raises(DatasetError, match=r"have changed(?s:.*)00001\.jpg"):
        reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu", update=True)

    rows = read(tmp_path / "out")
    assert rows.paths == paths
    assert rows.embeddings[1].tobytes() == reidhub.embedder(NAME)([paths[1]]).numpy().tobytes()


def test_parts_of_several_processes_add_up_to_the_whole(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 2100)
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu", plan_only=True)

    reports = [reidhub.embed(NAME, [], tmp_path / "out", device="cpu", shard=f"{index}/2") for index in (1, 0)]

    assert [report.embedded for report in reports] == [1000, 1100]
    assert [report.complete for report in reports] == [1, 3]
    assert read(tmp_path / "out").paths == paths


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def check_whole(out: Path, paths: list[str]) -> None:
    """Check that each image has one row, with its embedding, and that no other file is left."""
    rows = read(out)
    assert rows.paths == paths
    alone = reidhub.embedder(NAME)(paths[:20]).numpy()
    assert all((rows.embeddings[place::20] == alone[place]).all() for place in range(20))
    shards = [f"embeddings-0000-{number:06d}.parquet" for number in range(-(-len(paths) // 1000))]
    assert sorted(path.name for path in out.iterdir()) == ["_model.json", "_plan", *shards]
    assert [path.name for path in (out / "_plan").iterdir()] == ["0000.arrow"]


def test_a_killed_run_continues_where_it_was(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 3500)
    out = tmp_path / "out"
    running = start("embed", NAME, str(tmp_path / "crops"), "-o", str(out), "--device", "cpu")
    while not list(out.glob("embeddings-*")) and running.poll() is None:
        time.sleep(0.002)
    running.kill()
    running.wait()
    done = len(list(out.glob("embeddings-*")))

    report = reidhub.embed(NAME, tmp_path / "crops", out, device="cpu")

    assert 0 < done < 4
    assert report.embedded == 3500 - 1000 * done
    check_whole(out, paths)


@pytest.mark.long
def test_after_kills_at_random_moments_no_row_is_lost_and_none_is_there_twice(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 20_000)
    chance = random.Random(18)
    arguments = ("embed", NAME, str(tmp_path / "crops"), "--device", "cpu", "-o")
    begin = time.monotonic()
    start(*arguments, str(tmp_path / "whole")).wait()
    whole_s = time.monotonic() - begin
    killed = 0
    while killed < 30:
        out = tmp_path / f"out{killed}"
        for _ in range(3):
            running = start(*arguments, str(out))
            time.sleep(chance.uniform(0, whole_s))
            killed += running.poll() is None
            running.kill()
            running.wait()
        start(*arguments, str(out)).wait()
        check_whole(out, paths)


def test_a_npz_file_has_the_rows_and_leaves_no_folder(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 4)

    report = reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out.npz", device="cpu")

    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["path"].tolist() == paths
        assert arrays["embedding"].tobytes() == reidhub.embedder(NAME)(paths).numpy().tobytes()
        assert json.loads(str(arrays["model"]))["checkpoint"] == NAME
    assert report.output == tmp_path / "out.npz"
    assert not list(tmp_path.glob("*.unfinished"))
    with pytest.raises(UsageError, match=r"out\.npz exists"):
        reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out.npz", device="cpu")


def test_a_npz_file_of_more_than_one_gigabyte_is_refused() -> None:
    check_size(488_281, 512)
    with pytest.raises(UsageError, match=r"488,282 embeddings of 512 values take 1\.0 GB"):
        check_size(488_282, 512)


def test_without_inputs_a_folder_without_a_plan_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="has no plan"):
        reidhub.embed(NAME, [], tmp_path / "out", device="cpu")


def test_json_is_the_report(tmp_path, write_crops, monkeypatch, capsys):
    write_crops(tmp_path / "crops", 2)

    done = run_here(monkeypatch, capsys, "embed", NAME, str(tmp_path / "crops"), "-o", str(tmp_path / "out"), "--json")

    data = json.loads(done.stdout)
    assert (data["embedded"], data["output"], data["reasons"]) == (2, str(tmp_path / "out"), [])


def test_an_exported_file_continues_the_folder_of_its_checkpoint(tmp_path, write_crops, tiny_zoo):
    weights = tiny_zoo / f"{NAME}.pth"
    write_crops(tmp_path / "first", 2)
    write_crops(tmp_path / "second", 3)
    reidhub.embed(weights, tmp_path / "first", tmp_path / "out", device="cpu")
    exported = reidhub.export(weights, format="openvino", path=tmp_path / "exported.xml").path

    report = reidhub.embed(exported, tmp_path / "second", tmp_path / "out", device="cpu")

    rows = read(tmp_path / "out").embeddings
    assert (report.embedded, report.planned) == (3, 5)
    assert np.abs(rows[2:4] - rows[:2]).max() <= 1e-5 * np.abs(rows).max()


@pytest.mark.long
def test_two_runs_at_the_same_time_write_each_row_once(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 2100)
    arguments = ("embed", NAME, str(tmp_path / "crops"), "-o", str(tmp_path / "out"), "--device", "cpu")

    codes = [running.wait() for running in [start(*arguments), start(*arguments)]]

    assert codes == [0, 0]
    check_whole(tmp_path / "out", paths)


def test_boxes_of_a_mot_file_are_embedded_like_those_of_a_tracker(tmp_path, drawn):
    frames = tmp_path / "img1"
    frames.mkdir()
    for number in (1, 2):
        (frames / f"{number:06d}.jpg").write_bytes(drawn[number])
    (tmp_path / "gt.txt").write_text("1,7,1,1,20,40,1,1,1\n2,7,5,9,30,60,1,1,1\n1,9,11,21,20.5,40,1,1,1\n")

    reidhub.embed(NAME, frames, tmp_path / "out", boxes=tmp_path / "gt.txt", device="cpu")

    rows, embedder = read(tmp_path / "out"), reidhub.embedder(NAME)
    first, second = (Image.open(frames / f"00000{number}.jpg") for number in (1, 2))
    wanted = [
        *embedder.boxes(first, [[0, 0, 20, 40], [10, 20, 30.5, 60]], color="rgb"),
        *embedder.boxes(second, [[4, 8, 34, 68]], color="rgb"),
    ]
    assert rows.paths == [f"{frames}/000001.jpg"] * 2 + [f"{frames}/000002.jpg"]
    assert (rows.ids, rows.boxes[1]) == (["7", "9", "7"], (10, 20, 30.5, 60))
    assert rows.embeddings.tobytes() == np.stack([row.numpy() for row in wanted]).tobytes()


def test_images_in_tar_and_parquet_files_have_the_embeddings_of_the_files(tmp_path, write_crops, drawn):
    paths = write_crops(tmp_path / "crops", 6)
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for path in paths:
            archive.add(path, Path(path).name)
    table = pa.table({"image": [Path(path).read_bytes() for path in paths], "id": list("abcdef")})
    pq.write_table(table, tmp_path / "crops.parquet")

    inputs = [tmp_path / "shard.tar", tmp_path / "crops.parquet"]
    reidhub.embed(NAME, inputs, tmp_path / "out", device="cpu")

    rows, wanted = read(tmp_path / "out"), reidhub.embedder(NAME)(paths).numpy().tobytes()
    assert rows.embeddings.tobytes() == wanted * 2
    assert rows.paths[0] == f"{tmp_path}/shard.tar/00000.jpg"
    assert rows.ids[6:] == list("abcdef")


def test_the_list_has_the_present_reason_of_each_unreadable_image(tmp_path, write_crops):
    paths = write_crops(tmp_path / "crops", 3)
    Path(paths[1]).write_bytes(b"no image")
    reidhub.embed(NAME, tmp_path / "crops", tmp_path / "out", device="cpu")
    Path(paths[1]).unlink()

    report = reidhub.embed(NAME, [], tmp_path / "out", device="cpu")

    [(path, reason)] = report.reasons
    assert (path, report.embedded) == (paths[1], 0)
    assert "No such file" in reason
    assert pq.read_table(tmp_path / "out" / "unreadable.parquet").column("reason").to_pylist() == [reason]


def test_only_a_new_an_empty_or_an_embeddings_folder_can_be_out(tmp_path, write_crops):
    write_crops(tmp_path / "crops", 1)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "empty").mkdir()

    for name, problem in {"crops": "other files", "file": "OUT is a folder", "out.parquet": "OUT is a folder"}.items():
        with pytest.raises(UsageError, match=problem):
            reidhub.embed(NAME, tmp_path / "crops", tmp_path / name, device="cpu")
    assert reidhub.embed(NAME, tmp_path / "crops", tmp_path / "empty", device="cpu").embedded == 1
