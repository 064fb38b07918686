"""Exported files of a small model, made with the tools of ONNX and OpenVINO alone; and ways to damage them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from reidhub.inference.export_metadata import ExportMetadata
from reidhub.inference.openvino_model import convert, import_openvino
from reidhub.models.base import ReidModel
from support.small_model import make_small_model, spec_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_metadata(**changes: Any) -> ExportMetadata:
    """Return the metadata of a file of `Small`, with a dynamic batch and normalised pixels, apart from ``changes``."""
    values: dict[str, Any] = {
        "checkpoint": "small.demo",
        "sha256": "ab" * 32,
        "architecture": "small",
        "height": 16,
        "width": 8,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bilinear",
        "color": "rgb",
        "pixels": "normalised",
        "dimensions": 4,
        "batch_size": "dynamic",
        "precision": "fp32",
        "opset": 18,
        "distance": "cosine",
        "licence": "MIT",
        "notices": ("Only a test.",),
    }
    return ExportMetadata(**(values | changes))


def make_onnx(metadata: ExportMetadata | None = None, model: ReidModel | None = None) -> onnx.ModelProto:
    """Return an ONNX model of a `Small` model. It is written node by node, because torch's exporter takes seconds."""
    metadata, model = metadata or make_metadata(), model or make_small_model()
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def conv(x: str, layer: str, name: str) -> str:
        pad = 1 if layer == "conv1" else 0
        return add("Conv", x, f"{layer}.weight", f"{layer}.bias", name=name, pads=[pad] * 4)

    def norm(x: str, layer: str, name: str) -> str:
        tensors = [f"{layer}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return add("BatchNormalization", x, *tensors, name=name)

    x = "images"
    if metadata.pixels == "0..1":
        weights |= {n: np.array(v, np.float32).reshape(1, 3, 1, 1) for n, v in (("mean", MEAN), ("std", STD))}
        x = add("Div", add("Sub", x, "mean", name="centred"), "std", name="normalised")
    x = add("Relu", norm(conv(x, "conv1", "c1"), "bn1", "n1"), name="r1")
    read = conv(x, "conv2", "c2")
    x = add("Add", norm(read, "bn2", "n2"), read, name="a2")
    x = norm(conv(conv(x, "conv3", "c3"), "conv3", "c3b"), "bn3", "n3")
    x = norm(conv(x, "conv4", "c4"), "bn4", "n4")
    x = norm(conv(x, "conv4", "c4b"), "bn4", "n4b")
    add("Flatten", add("GlobalAveragePool", x, name="pooled"), name="embeddings")
    used = {name for node in nodes for name in node.input}
    count = 1 if metadata.batch_size == "1" else "N"
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info("images", 1, [count, 3, 16, 8])],
        [onnx.helper.make_tensor_value_info("embeddings", 1, [count, 4])],
        [onnx.numpy_helper.from_array(weights[name], name) for name in weights if name in used],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.helper.set_model_props(made, metadata.to_texts())
    return made


def write_onnx(path: Path, **changes: Any) -> Path:
    """Write an ONNX file of `Small`; ``changes`` are for its metadata."""
    path.write_bytes(make_onnx(make_metadata(**changes)).SerializeToString())
    return path


def write_openvino(path: Path, texts: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """Write an OpenVINO model of `Small`; ``changes`` are for its metadata."""
    metadata = make_metadata(opset=None, **changes)
    model = make_small_model()
    converted = convert(model, spec_of(model))
    if metadata.batch_size == "1":
        converted.reshape([1, 3, 16, 8])
    converted.input().set_names({"images"})
    converted.output().set_names({"embeddings"})
    for key, value in (texts or metadata.to_texts()).items():
        converted.set_rt_info(value, ["reidhub", key])
    import_openvino().save_model(converted, path, compress_to_fp16=False)
    return path
