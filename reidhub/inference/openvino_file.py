"""Reads the two files of an exported OpenVINO model, and checks them before they are run. They are not trusted."""

import math
from pathlib import Path
from typing import Any
from xml.parsers import expat

import torch

from reidhub.cache.conversions import Conversion
from reidhub.errors import UsageError, WeightsError
from reidhub.files.regular_file import read_regular_file
from reidhub.files.sniff import make_printable
from reidhub.inference.export_metadata import EXPORT_AGAIN, ExportMetadata
from reidhub.inference.openvino_engine import OpenvinoEngine
from reidhub.inference.openvino_model import ConversionError, choose_request, read_bytes, store_request

_LARGEST_XML = 1 << 26  # bytes; HACNN has 1 MB
_LARGEST_WEIGHTS = 1 << 30  # bytes
_DEEPEST = 100  # elements inside each other; OpenVINO writes 7
_MOST_LAYERS = 50_000  # OSNet has 4,000
_MOST_ELEMENTS = 1 << 27  # of all tensors that a model computes for one image; OSNet has 40 million
_NESTED = {"If", "Loop", "TensorIterator"}  # layers with models of their own


def make_openvino_engine(path: Path, device: torch.device) -> tuple[OpenvinoEngine, ExportMetadata]:
    """Make the engine of a file ``model.xml``; the weights are in ``model.bin`` in the same folder.

    Returns:
        The engine, and the metadata of the file.

    Raises:
        WeightsError: a file is damaged, was not exported by reidhub, does not fit its metadata, or
            needs more than a model of the zoo needs: loops, or huge tensors.
        UsageError: the device is not a CPU, or OpenVINO cannot be used in this process.
        OSError: a file cannot be read.
    """
    if device.type != "cpu":
        raise UsageError(f"an OpenVINO file runs on the CPU, not on {device}", hint="choose cpu, or export to ONNX")
    xml = read_regular_file(path, _LARGEST_XML)
    metadata = ExportMetadata.of_texts(_parse_metadata(xml, path), str(path))
    weights = read_regular_file(path.with_suffix(".bin"), _LARGEST_WEIGHTS)
    try:
        model = read_bytes(Conversion(xml, weights))
        _check_model(model, metadata)
        _widen_weights(model)
        engine = OpenvinoEngine(model, metadata.dimensions, metadata.spec, "fp32")
        image = torch.zeros(1, 3, metadata.height, metadata.width, dtype=torch.uint8)
        engine(image, torch.empty(1, metadata.dimensions))  # the first run compiles the model, and finds more mistakes
        return engine, metadata
    except ConversionError as error:
        raise UsageError(
            f"{path} needs OpenVINO: {error}", hint="pip install openvino; start workers with spawn"
        ) from error
    except (RuntimeError, ValueError) as error:
        reason = make_printable(str(error).strip().splitlines()[-1], 300)  # the other lines name OpenVINO's own code
        raise WeightsError(f"OpenVINO cannot run {path}: {reason}", hint=EXPORT_AGAIN) from error


def _widen_weights(model: Any) -> None:
    """Convert the float16 weights of a model to float32.

    OpenVINO does this too when it compiles. But with the hint ``THROUGHPUT`` and more than one stream, one compilation
    in 20 then computed embeddings with ten times the error (OpenVINO 2026.4.1). With float32 weights, none in 1000 did.
    """
    from openvino.passes import ConstantFolding, Manager  # `open_core` has imported OpenVINO already

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def read_openvino_metadata(path: Path) -> dict[str, str]:
    """Return the entries under ``reidhub`` in the runtime information of a file ``model.xml``; empty if there are none.

    Raises:
        WeightsError: the file is no OpenVINO model.
        OSError: the file cannot be read.
    """
    return _parse_metadata(read_regular_file(path, _LARGEST_XML), path)


def _parse_metadata(xml: bytes, path: Path) -> dict[str, str]:
    """Return the attributes ``value`` of the elements in ``<net><rt_info><reidhub>``."""
    metadata: dict[str, str] = {}
    around: list[str] = []  # the elements around the current place, outermost first

    def enter(name: str, attributes: dict[str, str]) -> None:
        if len(around) >= _DEEPEST or (not around and name != "net"):
            raise ValueError("not the elements of OpenVINO")
        if around == ["net", "rt_info", "reidhub"] and "value" in attributes:
            metadata[name] = attributes["value"]
        around.append(name)

    def refuse(*_: Any) -> None:
        raise ValueError("entities, which OpenVINO does not write")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = enter, lambda _: around.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError) as error:
        raise WeightsError(f"{path} is no OpenVINO model, or it is damaged", hint=EXPORT_AGAIN) from error
    return metadata


def _check_model(model: Any, metadata: ExportMetadata) -> None:
    """Check that a model takes and returns what its metadata says, and that it needs little memory.

    Raises:
        ValueError: it does not.
        RuntimeError: OpenVINO finds a mistake in the model.
    """
    size = [3, metadata.height, metadata.width]
    if len(model.get_ops()) > _MOST_LAYERS or _NESTED & {layer.get_type_name() for layer in model.get_ops()}:
        raise ValueError("it has too many layers, or layers with models of their own")
    ends = [*model.inputs, *model.outputs]
    names = [end.get_names() for end in ends]
    if names != [{"images"}, {"embeddings"}] or any(end.get_element_type().get_type_name() != "f32" for end in ends):
        raise ValueError("it does not have the input 'images' and the output 'embeddings', both of float32")
    got = [dim.get_length() if dim.is_static else -1 for dim in model.input().get_partial_shape()]
    wanted = [1 if metadata.batch_size == "1" else -1, *size]
    if got != wanted:
        raise ValueError(f"it takes images of the shape {got}, its metadata says {wanted} (-1: any number)")
    model.reshape([1, *size])
    computed = [out for layer in model.get_ops() if layer.get_type_name() != "Constant" for out in layer.outputs()]
    if not all(out.get_partial_shape().is_static for out in computed):
        raise ValueError("the size of its tensors does not follow from the size of the images")
    if sum(math.prod(out.get_shape()) for out in computed) > _MOST_ELEMENTS:
        raise ValueError(f"it computes more than {_MOST_ELEMENTS:,} numbers for each image")
    request = 1 if metadata.batch_size == "1" else choose_request(model)
    model.reshape([request, *size])
    if (got := list(model.output().get_shape())) != (wanted := [request, metadata.dimensions]):
        raise ValueError(f"it gives embeddings of the shape {got} for {request} images, its metadata says {wanted}")
    if metadata.batch_size == "dynamic":
        model.reshape([-1, *size])
    store_request(model, request)
