"""Reads ONNX files, and checks them before onnxruntime runs them. The files are not trusted.

A graph could load other files, loop for ever, or make huge tensors from a few bytes. Therefore a file must have
one graph of standard operators, with all weights in the file itself. The sizes of all tensors must follow from the size
of the images.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidhub.errors import UsageError, WeightsError
from reidhub.files.regular_file import read_regular_file
from reidhub.inference.export_metadata import EXPORT_AGAIN, ExportMetadata

EXTRA = "pip install 'reidhub[onnx]'"
"""The hint for a missing package."""

_LARGEST_FILE = 1 << 30  # bytes
_MOST_NODES = 20_000  # HACNN has 600
_MOST_ELEMENTS = 1 << 27  # of all tensors that a graph computes for one image; OSNet has 40 million
_LARGEST_SHAPE = 1024  # elements; a tensor with more is not the shape of another tensor
_OPSET = 18  # before it, torch writes graphs in which some sizes cannot be inferred (hacnn, mlfn, shufflenet)
_FLOATS = (1, 10)  # float32 and float16, as ONNX numbers the types


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A checked ONNX file.

    Args:
        path: path of the file, for messages.
        content: the bytes of the file.
        metadata: what the file says about itself.
    """

    path: str
    content: bytes
    metadata: ExportMetadata

    @classmethod
    def read(cls, path: Path) -> "OnnxFile":
        """Read and check a file.

        Raises:
            WeightsError: the file is damaged, was not exported by reidhub, does not fit its metadata,
                or needs more than a model of the zoo needs: other files, loops, or huge tensors.
            UsageError: the package onnx is not installed.
            OSError: the file cannot be read.
        """
        content = read_regular_file(path, _LARGEST_FILE)
        model = _parse(content, path)
        metadata = ExportMetadata.of_texts(_list_metadata(model), str(path))
        try:
            _check_graph(model)
            _check_sizes(model, metadata)
        except _GraphError as error:
            hint = f"{EXPORT_AGAIN}, without --opset" if (metadata.opset or _OPSET) < _OPSET else EXPORT_AGAIN
            raise WeightsError(f"{path} is not run: {error}", hint=hint) from error
        return cls(str(path), content, metadata)


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file of any program; empty if it has none.

    Raises:
        WeightsError: the file is no ONNX file.
        UsageError: the package onnx is not installed.
        OSError: the file cannot be read.
    """
    return _list_metadata(_parse(read_regular_file(path, _LARGEST_FILE), path))


class _GraphError(Exception):
    """A graph has something that no model of the zoo needs."""


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as error:
        raise UsageError(f"reading an ONNX file needs the package onnx: {error}", hint=EXTRA) from error
    return onnx


def _parse(content: bytes, path: Path) -> Any:
    """Return the ``onnx.ModelProto`` of a file. Other files that it names are not opened."""
    try:
        model = _import_onnx().ModelProto.FromString(content)
    except UsageError:
        raise
    except Exception as error:  # DecodeError; its package is not ours
        raise WeightsError(f"{path} is no ONNX file, or it is damaged", hint=EXPORT_AGAIN) from error
    if not model.graph.node:
        raise WeightsError(f"{path} is no ONNX file, or it is empty", hint=EXPORT_AGAIN)
    return model


def _list_metadata(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props if isinstance(entry.value, str)}  # bytes: damaged


def _check_graph(model: Any) -> None:
    """Check that a model is one graph of standard operators, and that its weights are in the file."""
    graph = model.graph
    if len(graph.node) > _MOST_NODES:
        raise _GraphError(f"it has {len(graph.node)} operators, more than {_MOST_NODES}")
    if model.functions or model.training_info or graph.sparse_initializer:
        raise _GraphError("it has functions, a training graph or sparse weights")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise _GraphError(f"it has the operator {node.op_type[:50]!r}, which is not in the ONNX standard")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise _GraphError(f"it has the operator {node.op_type[:50]!r}, which runs a graph of its own")
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _GraphError("it has sparse tensors")
    for tensor in _list_tensors(graph):
        if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
            raise _GraphError("its weights are in another file")
        if math.prod(tensor.dims) > 8 * tensor.ByteSize() or min(tensor.dims, default=0) < 0:
            raise _GraphError("it has a tensor with fewer bytes than its shape needs")


def _list_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_sizes(model: Any, metadata: ExportMetadata) -> None:
    """Check that a model takes and returns what its metadata says, and that its tensors are not huge.

    ``model`` is changed: weights and the sizes that the file claims are removed, and the number of images is fixed.
    """
    count = 1 if metadata.batch_size == "1" else 2
    _check_ends(model.graph, metadata)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = count
    for size in model.graph.output[0].type.tensor_type.shape.dim:
        size.Clear()  # unknown
    del model.graph.value_info[:]
    _remove_weights(model.graph)
    # integers can be the shapes of other tensors; if their values are ignored, this needs little memory for any graph
    for name, kind in _infer_types(model, follow_values=False).items():
        if kind.elem_type not in _FLOATS and (_find_shape(kind) is None or _count(kind) > _LARGEST_SHAPE):
            raise _GraphError(f"the size of its tensor {name[:50]!r} is not known, or too large for a shape")
    kinds = _infer_types(model, follow_values=True)
    computed = [name for node in model.graph.node for name in node.output if name]
    if unknown := [name for name in computed if name not in kinds or _find_shape(kinds[name]) is None]:
        raise _GraphError(f"the size of its tensor {unknown[0][:50]!r} does not follow from the size of the images")
    if sum(_count(kinds[name]) for name in computed) > count * _MOST_ELEMENTS:
        raise _GraphError(f"it computes more than {_MOST_ELEMENTS:,} numbers for each image")
    got, wanted = _find_shape(kinds["embeddings"]), [count, metadata.dimensions]
    if got != wanted:
        raise _GraphError(f"it gives embeddings of the shape {got} for {count} images, its metadata says {wanted}")


def _check_ends(graph: Any, metadata: ExportMetadata) -> None:
    """Check name, type and shape of the input, and name and type of the output."""
    ends = [*graph.input, *graph.output]
    names = [end.name for end in ends]
    if names != ["images", "embeddings"] or any(end.type.tensor_type.elem_type != 1 for end in ends):
        raise _GraphError("it does not have the input 'images' and the output 'embeddings', both of float32")
    got = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    wanted = [1 if metadata.batch_size == "1" else 0, 3, metadata.height, metadata.width]
    if got != wanted:  # 0: any number
        raise _GraphError(f"it takes images of the shape {got}, its metadata says {wanted} (0: any number)")


def _remove_weights(graph: Any) -> None:
    """Replace large weights by inputs of the same type and shape; keep small ones, which may be shapes of tensors."""
    kept = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= _LARGEST_SHAPE]
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _LARGEST_SHAPE:
            added = graph.input.add(name=tensor.name)
            added.type.tensor_type.elem_type = tensor.data_type
            for size in tensor.dims:
                added.type.tensor_type.shape.dim.add(dim_value=size)
    small = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(small)


def _infer_types(model: Any, *, follow_values: bool) -> dict[str, Any]:
    """Return name -> ``TypeProto.Tensor`` of the tensors that a model computes; unknown types are missing."""
    onnx = _import_onnx()
    try:
        onnx.checker.check_model(model)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=follow_values)
    except Exception as error:  # ValidationError, InferenceError; and whatever a damaged graph causes
        raise _GraphError(f"it is no valid ONNX graph: {str(error).strip().splitlines()[0][:200]}") from error
    return {value.name: value.type.tensor_type for value in [*inferred.graph.value_info, *inferred.graph.output]}


def _find_shape(kind: Any) -> list[int] | None:
    """Return the shape of a tensor; None if a part of it is unknown."""
    is_known = kind.HasField("shape") and all(d.HasField("dim_value") and d.dim_value >= 0 for d in kind.shape.dim)
    return [dim.dim_value for dim in kind.shape.dim] if is_known else None


def _count(kind: Any) -> int:
    return math.prod(_find_shape(kind) or ())
