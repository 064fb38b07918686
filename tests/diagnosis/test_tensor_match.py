"""Which checkpoint a file may be, by its tensors alone."""

import torch
from support.zoo_entries import DRIVE, checkpoints, entry

from reidhub.diagnosis.tensor_match import find_by_tensors
from reidhub.models import build


def saved(folder, model="osnet_x0_25", num_classes=751, name="mine.pth"):
    torch.manual_seed(1)
    path = folder / name
    torch.save({"state_dict": build(model, num_classes).state_dict(), "epoch": 3}, path)
    return path


def loose(name, file="", classes="751"):
    return entry(name, f"gdrive: {DRIVE}", file=file).replace("num_classes: 751", f"num_classes: {classes}")


def names(path, folder, *entries):
    return [checkpoint.name for checkpoint in find_by_tensors(path, checkpoints(folder, *entries))]


def test_architecture_and_classes_tell_the_checkpoint(tmp_path):
    entries = [loose("osnet_x0_25.a"), loose("osnet_x0_5.b"), loose("osnet_x0_25.c", classes="1000")]
    assert names(saved(tmp_path), tmp_path, *entries) == ["osnet_x0_25.a"]
    assert names(saved(tmp_path, num_classes=1000), tmp_path, *entries) == ["osnet_x0_25.c"]
    assert names(saved(tmp_path, num_classes=702), tmp_path, *entries) == []
    assert names(saved(tmp_path, model="osnet_x0_75"), tmp_path, *entries) == []


def test_where_several_checkpoints_fit_none_is_guessed(tmp_path):
    assert names(saved(tmp_path), tmp_path, loose("osnet_x0_25.a"), loose("osnet_x0_25.b")) == []


def test_the_authors_file_name_tells_where_classes_do_not(tmp_path):
    entries = [
        loose("osnet_x0_25.a", "original: first.pth", "null"),
        loose("osnet_x0_25.b", "original: second.pth", "null"),
    ]
    assert names(saved(tmp_path, name="second.pth"), tmp_path, *entries) == ["osnet_x0_25.b"]
    assert names(saved(tmp_path, name="third.pth"), tmp_path, *entries) == []


def test_an_unpublished_number_of_classes_alone_is_no_evidence(tmp_path):
    assert names(saved(tmp_path), tmp_path, loose("osnet_x0_25.a", classes="null")) == []


def test_the_authors_file_name_does_not_outweigh_the_tensors(tmp_path):
    entries = [loose("osnet_x0_5.a", "original: first.pth", "null"), loose("osnet_x0_25.b")]
    assert names(saved(tmp_path, name="first.pth"), tmp_path, *entries) == []


def test_a_file_without_weights_is_no_checkpoints(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02nothing")
    assert names(tmp_path / "x.pth", tmp_path, loose("osnet_x0_25.a")) == []
