"""`doctor`, `load` and others say what an exported file is, and what runs it."""

import json
import zipfile
from pathlib import Path

import pytest
from support.exported_files import make_metadata, make_onnx, write_onnx, write_openvino
from support.verify_runs import run_here

import reidhub
from reidhub.errors import WeightsError

NAMES = {"onnx": "model.onnx", "openvino": "model.xml", "torch-export": "model.pt2"}


def write_program(path: Path, texts: object = None) -> Path:
    """Write what `doctor` reads of a program of torch.export; exporting one takes seconds."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("archive_format", "models/model.json", "data/sample_inputs/model.pt"):
            archive.writestr(f"model/{name}", "pt2")
        if texts is not False:
            archive.writestr("model/extra/reidhub.json", json.dumps(texts or make_metadata(opset=None).to_texts()))
    return path


WRITERS = {"onnx": write_onnx, "openvino": write_openvino, "torch-export": write_program}


@pytest.mark.parametrize("form", NAMES)
def test_doctor_says_from_which_checkpoint_a_file_was_exported(form: str, tmp_path: Path) -> None:
    path = WRITERS[form](tmp_path / NAMES[form])

    found = reidhub.doctor(path)

    assert (found.format, found.loadable) == (form, False)
    assert "that reidhub exported from small.demo, not a checkpoint" in found.problem
    assert found.export == make_metadata(opset=18 if form == "onnx" else None)
    assert (
        "torch.export.load runs it" if form == "torch-export" else f"reidhub.embedder('{path}') runs it"
    ) in found.hint


@pytest.mark.parametrize("form", NAMES)
def test_doctor_says_that_a_file_is_of_another_program(form: str, tmp_path: Path) -> None:
    path = tmp_path / NAMES[form]
    if form == "onnx":
        model = make_onnx()
        del model.metadata_props[:]
        path.write_bytes(model.SerializeToString())
    else:
        {"openvino": write_openvino, "torch-export": write_program}[form](
            path, {"openvino": {"author": "somebody"}, "torch-export": False}[form]
        )

    found = reidhub.doctor(path)

    assert (found.format, found.export) == (form, None)
    assert "that reidhub did not export" in found.problem and "`reidhub export NAME-or-FILE`" in found.hint


def test_doctor_prints_the_metadata_in_words_and_as_json(tmp_path: Path, monkeypatch, capsys) -> None:
    path = str(write_onnx(tmp_path / "model", pixels="0..1", licence="MIT\x1b[31m"))

    code, text, _ = run_here(monkeypatch, capsys, "doctor", path)
    (data,) = json.loads(run_here(monkeypatch, capsys, "doctor", "--json", path)[1])

    assert code == 1
    words = " ".join(text.split())
    assert "exported from small.demo (small), weights in fp32" in words
    assert "images 16x8, RGB, pixels from 0 to 1; any number; resized by PIL's bilinear filter" in words
    assert "embeddings 4 dimensions, compared by cosine distance" in words
    assert "MIT [31m" in words and "\x1b" not in text
    assert "runs it if its name ends with .onnx" in words
    assert (data["export"]["checkpoint"], data["export"]["dimensions"]) == ("small.demo", 4)


@pytest.mark.parametrize("form", NAMES)
def test_what_takes_checkpoints_says_what_to_do_with_an_exported_file(form: str, tmp_path: Path) -> None:
    path = WRITERS[form](tmp_path / NAMES[form])
    calls = [reidhub.load, reidhub.fetch, lambda path: reidhub.verify([path], data_root=tmp_path)]
    if form == "torch-export":
        calls += [reidhub.embedder, reidhub.transform]

    for call in calls:
        with pytest.raises(WeightsError, match=r"exported from small\.demo, not a checkpoint") as caught:
            call(path)
        assert "runs it" in caught.value.hint


@pytest.mark.parametrize("texts", [{"reidhub_export": "1"}, {"reidhub_export": 1}, ["reidhub_export"]])
def test_damaged_metadata_is_told(texts: object, tmp_path: Path) -> None:
    found = reidhub.doctor(write_program(tmp_path / "model.pt2", texts))

    assert found.export is None and ("damaged" in found.problem or "did not export" in found.problem)
