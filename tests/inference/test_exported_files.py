"""Embedders that run exported files: the embeddings of the model, and files that are damaged or hostile."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest
import torch
from PIL import Image
from support.exported_files import make_metadata, make_onnx, write_onnx, write_openvino
from support.forks import run_in_fork
from support.small_model import make_small_model, relative_error, run_plainly, spec_of
from torch import Tensor

import reidhub
from reidhub.errors import UnknownCheckpointError, UsageError, WeightsError
from reidhub.inference import Embedder
from reidhub.inference.onnx_engine import OnnxEngine
from reidhub.inference.onnx_file import OnnxFile
from reidhub.inference.preprocess import normalise

WRITERS = {"model.onnx": write_onnx, "model.xml": write_openvino}


@pytest.fixture
def pixels() -> Tensor:
    """19 images: more than a batch, and no multiple of one."""
    return torch.randint(0, 256, (19, 3, 16, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def wanted(pixels: Tensor) -> Tensor:
    """The embeddings of the model itself."""
    model = make_small_model()
    return run_plainly(model, normalise(pixels, spec_of(model)))


@pytest.fixture(params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / request.param)


@pytest.mark.parametrize("batch", ["1", "dynamic"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_gives_the_embeddings_of_the_model(name: str, batch: str, tmp_path: Path, pixels, wanted) -> None:
    embed = reidhub.embedder(WRITERS[name](tmp_path / name, batch_size=batch))

    assert embed.engine.split()[0] == ("onnxruntime" if name == "model.onnx" else "openvino")
    assert relative_error(embed(pixels), wanted) < 1e-6
    assert relative_error(embed(normalise(pixels, spec_of(make_small_model()))), wanted) < 1e-6
    assert relative_error(embed(pixels[:1]), wanted[:1]) < 1e-6
    assert embed([]).shape == (0, 4)


def test_a_file_that_normalises_itself_gets_pixels_from_0_to_1(tmp_path: Path, pixels, wanted) -> None:
    path = write_onnx(tmp_path / "model.onnx", pixels="0..1")
    embed = reidhub.embedder(path)

    assert relative_error(embed(pixels), wanted) < 1e-6
    assert relative_error(embed(pixels / 255), wanted) < 1e-6
    assert torch.equal(
        reidhub.transform(path)(Image.new("RGB", (8, 16), (255, 0, 51)))[:, 3, 3], torch.tensor([1, 0, 0.2])
    )
    for one in (embed, pickle.loads(pickle.dumps(embed))):
        with pytest.raises(UsageError, match="this model takes pixels from 0 to 1"):
            one(normalise(pixels, spec_of(make_small_model())))


def test_images_boxes_and_trackers_work_as_with_any_embedder(path: Path, pixels, wanted, tmp_path: Path) -> None:
    embed = reidhub.embedder(str(path))
    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in pixels[:3]]
    Image.fromarray(arrays[1]).save(tmp_path / "image.png")
    frame = np.hstack(arrays)

    got = embed([arrays[0], tmp_path / "image.png", Image.fromarray(arrays[2])])

    assert relative_error(got, wanted[:3]) < 1e-6
    boxes = [[0, 0, 8, 16], [16, 0, 24, 16]]
    assert relative_error(embed.boxes(frame, boxes, color="rgb"), wanted[[0, 2]]) < 1e-6
    features = embed.for_tracker("boxmot").get_features(np.array(boxes), frame[..., ::-1])
    unit = torch.nn.functional.normalize(wanted[[0, 2]])
    assert relative_error(torch.from_numpy(features), unit) < 1e-6
    assert (
        relative_error(
            reidhub.transform(path)(Image.fromarray(arrays[0])), normalise(pixels, spec_of(make_small_model()))[0]
        )
        < 1e-6
    )


def test_threads_can_share_an_embedder_and_it_can_be_pickled(path: Path, pixels, wanted) -> None:
    embed = reidhub.embedder(path)
    path.unlink()  # a copy needs no file

    copy = pickle.loads(pickle.dumps(embed))
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda count: copy(pixels[:count]), [1, 2, 19, 9, 5] * 4))

    assert (copy.engine, copy.batch, copy.device) == (embed.engine, embed.batch, embed.device)
    assert all(relative_error(rows, wanted[: len(rows)]) < 1e-6 for rows in got)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_told_that_threads_are_missing(path: Path, pixels) -> None:
    embed = reidhub.embedder(path)
    embed(pixels)

    def use() -> str:
        with pytest.raises(UsageError) as caught:
            embed(pixels)
        return str(caught.value)

    assert "start the workers with spawn" in run_in_fork(use)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_can_make_an_embedder_of_an_onnx_file(tmp_path: Path, pixels, wanted) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    reidhub.embedder(path)(pixels)

    assert relative_error(torch.tensor(run_in_fork(lambda: reidhub.embedder(path)(pixels).tolist())), wanted) < 1e-6


def test_batch_is_the_number_of_images_that_onnxruntime_gets_at_once(tmp_path: Path, pixels, monkeypatch) -> None:
    def count_images(batch: str, chosen: int) -> list[int]:
        embed, counts = reidhub.embedder(write_onnx(tmp_path / "model.onnx", batch_size=batch), batch=chosen), []
        session = embed._engine._session

        class Spy:
            def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
                counts.append(len(inputs["images"]))
                return session.run(outputs, inputs)

        monkeypatch.setattr(embed._engine, "_session", Spy())
        embed(pixels)
        return counts

    assert count_images("dynamic", 8) == [8, 8, 3]
    assert count_images("1", 8) == [1] * 19


def test_choices_that_have_no_meaning_for_a_file_are_refused(path: Path) -> None:
    assert reidhub.embedder(path, precision="exact").dimensions == 4
    for choice, words in (
        ({"precision": "bf16"}, "has its own precision"),
        ({"precision": "half"}, "has its own precision"),
        ({"dataset": "msmt17"}, "is a file: dataset='msmt17' has no meaning"),
        ({"architecture": "osnet_x1_0"}, "is a file: architecture='osnet_x1_0' has no meaning"),
        ({"batch": 0}, "batch above 0"),
    ):
        with pytest.raises(UsageError, match=words):
            reidhub.embedder(path, **choice)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for name in WRITERS:
        with pytest.raises(UnknownCheckpointError, match=f"there is no file .*{name}"):
            reidhub.embedder(tmp_path / name)
    write_openvino(tmp_path / "model.xml").with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"model.bin cannot be read: No such file"):
        reidhub.embedder(tmp_path / "model.xml")


def test_a_gpu_that_the_runtime_does_not_support_is_refused(tmp_path: Path) -> None:
    file = OnnxFile.read(write_onnx(tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match="this onnxruntime cannot run on cuda"):
        OnnxEngine(file, torch.device("cuda"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(package: str, tmp_path: Path, monkeypatch) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UsageError, match=package) as caught:
        reidhub.embedder(path)

    assert caught.value.hint == "pip install 'reidhub[onnx]'"


_EMBED = """
import sys, torch
from pathlib import Path
from reidhub.inference.exported_files import make_embedder
make_embedder(Path(sys.argv[1]), torch.device("cpu"))(torch.zeros(3, 3, 16, 8, dtype=torch.uint8))
"""


def test_onnxruntime_sends_nothing_and_writes_nothing(tmp_path: Path) -> None:
    """At its import, onnxruntime would write an identifier of the machine, and start a thread that sends data."""
    home, path = tmp_path / "home", write_onnx(tmp_path / "model.onnx")
    home.mkdir()
    dropped = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped} | {"HOME": str(home)}

    run = subprocess.run([sys.executable, "-c", _EMBED, path], env=environment, capture_output=True, text=True)

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


def put_weights_elsewhere(model: onnx.ModelProto, place: str) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.ClearField("raw_data")


def add_first(model: onnx.ModelProto, operator: str, *inputs: str, **attributes: object) -> None:
    """Add an operator whose result nothing reads."""
    domain = str(attributes.pop("domain", ""))
    model.graph.node.insert(0, onnx.helper.make_node(operator, inputs, ["spare"], domain=domain, **attributes))


def make_huge(model: onnx.ModelProto) -> None:
    size = onnx.helper.make_tensor("size", 7, [2], [1 << 20, 1 << 20])
    model.graph.initializer.append(size)
    add_first(model, "ConstantOfShape", "size")


def double_a_shape(model: onnx.ModelProto) -> None:
    """Make a shape of 2^41 integers, each step with twice as many."""
    model.graph.initializer.append(onnx.helper.make_tensor("s0", 7, [2], [1, 1]))
    doubled = [onnx.helper.make_node("Concat", [f"s{n}", f"s{n}"], [f"s{n + 1}"], axis=0) for n in range(40)]
    nodes = [*doubled, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def loop(model: onnx.ModelProto) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [onnx.helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("c", 9))],
        [onnx.helper.make_tensor_value_info("d", 9, [])],
    )
    model.graph.initializer.append(onnx.helper.make_tensor("true", 9, [], [True]))
    model.graph.node.insert(0, onnx.helper.make_node("Loop", ["", "true"], [], body=body))


def hide_a_size(model: onnx.ModelProto) -> None:
    """Make a tensor with a size that depends on the pixels."""
    nodes = [
        onnx.helper.make_node("NonZero", ["images"], ["places"]),
        onnx.helper.make_node("Cast", ["places"], ["numbers"], to=1),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def lie_about_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "weights in /etc/passwd": (lambda model: put_weights_elsewhere(model, "/etc/passwd"), "in another file"),
    "weights in ../": (lambda model: put_weights_elsewhere(model, "../secret"), "in another file"),
    "a huge tensor": (make_huge, "computes more than"),
    "a shape that doubles": (double_a_shape, "too large for a shape"),
    "a size that is not known": (hide_a_size, "is not known, or too large for a shape"),
    "a loop": (loop, "runs a graph of its own"),
    "weights that are too short": (lie_about_weights, "fewer bytes than its shape needs"),
    "an operator of another domain": (
        lambda model: add_first(model, "EPContext", "images", domain="com.microsoft"),
        "not in the ONNX standard",
    ),
    "100,000 operators": (lambda model: model.graph.node.extend(list(model.graph.node) * 8000), "operators, more than"),
    "another name": (lambda model: setattr(model.graph.input[0], "name", "x"), "does not have the input 'images'"),
    "no input": (lambda model: model.graph.input.pop() and None, "does not have the input 'images'"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_onnx_file_is_refused_before_it_runs(kind: str, tmp_path: Path, monkeypatch) -> None:
    damage, words = HOSTILE[kind]
    model, path = make_onnx(), tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4 * 4 * 3 * 9))
    damage(model)
    path.write_bytes(model.SerializeToString())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(WeightsError, match=words):
        reidhub.embedder(path)


WRONG = {
    "another size": ({"height": 32}, "shape"),
    "more dimensions": ({"dimensions": 512}, "embeddings of the shape"),
    "another batch": ({"batch_size": "1"}, "shape"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_does_not_fit_its_metadata_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    changes, words = WRONG[kind]
    path, texts = tmp_path / name, make_metadata(**changes).to_texts()
    if name == "model.onnx":
        model = make_onnx()
        onnx.helper.set_model_props(model, texts)
        path.write_bytes(model.SerializeToString())
    else:
        write_openvino(path, texts)

    with pytest.raises(WeightsError, match=words):
        reidhub.embedder(path)


def test_a_file_of_another_program_is_not_run_because_its_images_are_not_known(path: Path) -> None:
    if path.suffix == ".onnx":
        model = make_onnx()
        del model.metadata_props[:]
        path.write_bytes(model.SerializeToString())
    else:
        write_openvino(path, {"author": "somebody"})

    for call in (reidhub.embedder, reidhub.transform):
        with pytest.raises(WeightsError, match="does not say which images it takes: reidhub did not export it"):
            call(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "a page", "noise", "a folder"])
def test_a_damaged_file_is_an_error_that_names_it(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        page = b"<!DOCTYPE html><html><title>Quota exceeded</title></html>"
        path.write_bytes({"cut": content[:-300], "a page": page, "noise": bytes(range(256)) * 9}.get(damage, b""))

    for call in (reidhub.embedder, reidhub.transform):
        with pytest.raises(WeightsError, match=path.name):
            call(path)


def test_openvino_weights_that_are_cut_are_an_error(tmp_path: Path) -> None:
    weights = write_openvino(tmp_path / "model.xml").with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-64])

    with pytest.raises(WeightsError, match="OpenVINO cannot run"):
        reidhub.embedder(tmp_path / "model.xml")


XML_BOMB = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "xml",
    [XML_BOMB + "]><net>&i;</net>", "<net>" + "<a>" * 500_000, "<net>" * 99, '<net a="\x00"/>'],
    ids=lambda x: x[:9],
)
def test_a_hostile_xml_file_is_refused(xml: str, tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text('<?xml version="1.0"?>' + xml)

    with pytest.raises(WeightsError, match="no OpenVINO model, or it is damaged"):
        reidhub.embedder(path)


def test_an_embedder_of_a_file_is_an_embedder(path: Path) -> None:
    assert isinstance(reidhub.embedder(path), Embedder)
