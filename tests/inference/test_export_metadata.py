"""The metadata of exported files: what is written is read again, and nothing else is accepted."""

from dataclasses import replace

import pytest

from reidhub.errors import WeightsError
from reidhub.inference.export_metadata import ExportMetadata

METADATA = ExportMetadata(
    checkpoint="osnet_x1_0.msmt17",
    sha256="ab" * 32,
    architecture="osnet_x1_0",
    height=256,
    width=128,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    color="rgb",
    pixels="normalised",
    dimensions=512,
    batch_size="dynamic",
    precision="fp32",
    opset=18,
    distance="euclidean",
    licence="research use",
    notices=("two\nlines", "ä"),
)
TEXTS = METADATA.to_texts()


@pytest.mark.parametrize(
    "changes",
    [{}, {"opset": None, "notices": (), "sha256": ""}, {"pixels": "0..1", "batch_size": "1", "precision": "fp16"}],
)
def test_what_is_written_is_read_again(changes):
    written = replace(METADATA, **changes)

    assert ExportMetadata.of_texts({**written.to_texts(), "author": "another program"}, "f.onnx") == written


def test_all_values_are_texts():
    assert all(type(value) is str for value in TEXTS.values())
    assert (TEXTS["height"], TEXTS["mean"], TEXTS["pixels"]) == ("256", "[0.485, 0.456, 0.406]", "normalised")


def test_a_file_that_normalises_itself_takes_pixels_unchanged():
    spec = replace(METADATA, pixels="0..1").spec

    assert (spec.mean, spec.std, spec.height) == ((0, 0, 0), (1, 1, 1), 256)
    assert METADATA.spec.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    "change",
    [
        {"height": "0"},
        {"height": "1e2"},
        {"width": "100000"},
        {"mean": "[0.5, 0.5]"},
        {"mean": "[0.5, 0.5, NaN]"},
        {"std": "[0.2, 0.2, 0]"},
        {"std": "0.2"},
        {"color": "bgr"},
        {"dimensions": "true"},
        {"batch_size": "16"},
        {"sha256": "ab"},
        {"notices": "not JSON"},
        {"pixels": None},
    ],
    ids=str,
)
def test_damaged_metadata_is_an_error(change):
    texts = {key: value for key, value in {**TEXTS, **change}.items() if value is not None}

    with pytest.raises(WeightsError, match=r"the metadata of f\.onnx is damaged"):
        ExportMetadata.of_texts(texts, "f.onnx")


def test_a_file_of_another_program_is_an_error_that_says_what_to_do():
    with pytest.raises(WeightsError, match="reidhub did not export it") as caught:
        ExportMetadata.of_texts({"author": "x"}, "f.onnx")

    assert "reidhub export" in caught.value.hint


def test_metadata_of_a_later_version_is_an_error():
    with pytest.raises(WeightsError, match="version '2'; this reidhub reads version 1"):
        ExportMetadata.of_texts({**TEXTS, "reidhub_export": "2"}, "f.onnx")
