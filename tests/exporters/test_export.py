"""Exports: each file computes what the module computes, says what it is, and is otherwise not kept."""

import copy
import json
import pickle
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save
from support.full_disks import file_size_limit
from support.paths import ROOT
from support.small_model import Small, make_images, make_small_model, relative_error, run_plainly, spec_of
from support.verify_runs import run_here
from torch import Tensor

import reidhub
from reidhub.demo import DATA, FILE_NAME, MANIFEST, world
from reidhub.errors import CacheError, DiskFullError, ExportError, ReidhubError, UsageError
from reidhub.exporters.check import TOLERANCES, check, make_pixels
from reidhub.exporters.export import Export, choose_files, export_model
from reidhub.exporters.module import Choices, describe
from reidhub.inference import Embedder
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.inference.preprocess import normalise
from reidhub.models import ARCHITECTURES, build
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import Checkpoint, InputSpec
from reidhub.zoo.manifest import read_manifest, zoo

FORMATS = ("onnx", "openvino", "torch-export")
DEMO = DATA / FILE_NAME


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The demo's checkpoint, with images of the size of the small model."""
    (demo,) = read_manifest([DATA / MANIFEST]).checkpoints
    return replace(demo, input=spec_of(make_small_model()), notices=("read this",))


FAST = {"onnx": {"opset": 17}}
"""Choices with which a format is written faster; torch writes older opsets in a tenth of the time."""


def export(
    model: ReidModel, checkpoint: Checkpoint, path: Path | str, *, force: bool = False, **choices: object
) -> Export:
    chosen = Choices(**choices)
    files = choose_files(checkpoint, chosen, path, force=force)
    return export_model(model, checkpoint, chosen, files, force=force)


def run_file(path: Path, images: Tensor) -> Tensor:
    """Run an exported file with code that shares nothing with the package."""
    if path.suffix == ".onnx":
        import onnxruntime

        (embeddings,) = onnxruntime.InferenceSession(path).run(["embeddings"], {"images": images.numpy()})
        return torch.from_numpy(embeddings)
    if path.suffix == ".xml":
        import openvino

        compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return torch.from_numpy(compiled({"images": images.numpy()})["embeddings"].copy())
    return run_plainly(torch.export.load(path).module(), images)


def read_texts(path: Path) -> dict[str, str]:
    """Read the metadata of an exported file with code that shares nothing with the package."""
    if path.suffix == ".onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    if path.suffix == ".xml":
        import openvino

        about = openvino.Core().read_model(path).get_rt_info()["reidhub"]
        return {key: getattr(value, "value", value) for key, value in about.items()}
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        return safe_open(path, "np").metadata()
    extra = {"reidhub.json": ""}
    torch.export.load(path, extra_files=extra)
    return json.loads(extra["reidhub.json"])


def make_inputs(count: int) -> Tensor:
    """Return pixels of small images in [0, 1]."""
    return torch.rand(count, 3, 16, 8, generator=torch.Generator().manual_seed(1))


LONG = pytest.mark.long  # each of these exports starts a process that imports torch
CHOICES = [
    pytest.param({}, 1, 1e-5, id="fixed"),
    pytest.param({"dynamic": True, "with_preprocessing": True}, 3, 1e-5, id="dynamic with preprocessing"),
    pytest.param({"dynamic": True, "half": True}, 5, 1e-2, id="dynamic half"),
]


@pytest.mark.parametrize(
    ("form", "choices", "count", "tolerance"),
    [
        pytest.param(
            form, *chosen.values, id=f"{form} {chosen.id}", marks=LONG if form == FORMATS[2] and place != 1 else ()
        )
        for form in FORMATS
        for place, chosen in enumerate(CHOICES)
    ],
)
def test_a_file_computes_the_embeddings_of_the_module(form, choices, count, tolerance, checkpoint, tmp_path):
    model, pixels = make_small_model(), make_inputs(count)
    mean, std = (torch.tensor(values)[:, None, None] for values in (checkpoint.input.mean, checkpoint.input.std))

    exported = export(model, checkpoint, tmp_path, format=form, **choices)

    images = (pixels - mean) / std
    given = pixels if choices.get("with_preprocessing") else images
    got = run_file(exported.path, given)
    assert (got.dtype, got.shape) == (torch.float32, (count, 4))
    assert relative_error(got, run_plainly(model, images)) < tolerance
    assert exported.error < tolerance
    if form != "torch-export":
        embed = reidhub.embedder(exported.path)
        assert relative_error(embed(given), got) < 1e-5 and embed.dimensions == 4
    assert all(p.dtype == torch.float32 for p in model.parameters())
    about = ExportMetadata.of_texts(read_texts(exported.path), "the file")
    assert about == exported.metadata
    assert (about.checkpoint, about.sha256) == (checkpoint.name, checkpoint.artifact.digest.hex)
    assert (about.pixels == "0..1", about.batch_size, about.precision) == (
        "with_preprocessing" in choices,
        "dynamic" if "dynamic" in choices else "1",
        "fp16" if "half" in choices else "fp32",
    )
    if not choices:
        with pytest.raises(Exception, match=r"(?i)shape|dimension|expected|size"):
            run_file(exported.path, images.repeat(2, 1, 1, 1))
    assert (about.opset, about.notices) == (18 if form == "onnx" else None, ("read this",))


def test_float16_weights_are_float32_before_openvino_compiles_them(checkpoint, tmp_path):
    """OpenVINO compiles a model with float16 weights wrongly now and then: see `inference/openvino_file`."""
    exported = export(make_small_model(), checkpoint, tmp_path, format="openvino", half=True)

    assert b'type="f16"' in exported.path.read_bytes()
    assert b'type="f16"' not in pickle.dumps(reidhub.embedder(exported.path))


@pytest.mark.long
def test_a_file_with_float16_weights_gives_the_same_embeddings_each_time_it_is_opened(checkpoint, tmp_path):
    exported = export(make_small_model(), checkpoint, tmp_path, format="openvino", dynamic=True, half=True)
    images = make_images(5)
    first = reidhub.embedder(exported.path)(images)

    for _ in range(200):
        assert relative_error(reidhub.embedder(exported.path)(images), first) < 1e-5


@pytest.mark.parametrize(("form", "with_preprocessing"), [("onnx", True), ("openvino", False)])
def test_an_exported_file_resizes_jpeg_files_with_the_filter_of_its_checkpoint(
    form, with_preprocessing, checkpoint, tmp_path
):
    model, bicubic = make_small_model(), replace(checkpoint, input=replace(checkpoint.input, interpolation="bicubic"))
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path, shot in zip(paths, world.list_shots("query"), strict=False):
        path.write_bytes(world.photograph(shot))

    exported = export(
        model, bicubic, tmp_path, format=form, dynamic=True, with_preprocessing=with_preprocessing, **FAST.get(form, {})
    )

    resized = [np.asarray(Image.open(path).resize((8, 16), Image.Resampling.BICUBIC)) for path in paths]
    images = normalise(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2), bicubic.input)
    want = run_plainly(model, images)
    assert relative_error(reidhub.embedder(exported.path)(paths), want) < 1e-5
    assert relative_error(Embedder.of_model(model, bicubic.input)(paths), want) < 1e-5
    assert relative_error(Embedder.of_model(model, checkpoint.input)(paths), want) > 1e-4
    assert read_texts(exported.path)["interpolation"] == "bicubic"


@pytest.mark.parametrize("half", [pytest.param(False, marks=LONG), True])
def test_safetensors_hold_the_weights_under_their_published_names(half, tmp_path):
    exported = reidhub.export(DEMO, format="safetensors", path=tmp_path / "w.safetensors", half=half)

    got, wanted = load_file(exported.path), reidhub.read_weights(DEMO)
    assert got.keys() == wanted.keys()
    assert all(
        torch.equal(got[name], wanted[name].half() if half and t.is_floating_point() else t)
        for name, t in wanted.items()
    )
    assert read_texts(exported.path)["architecture"] == "osnet_x0_25"
    assert exported.error < (1e-2 if half else 1e-5)


class Different(Small):
    """Computes something else while it is traced or exported."""

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute feature maps that are 0.01 % larger in an export."""
        exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()
        return super().feature_maps(images) * (1.0001 if exporting else 1.0)


class Constant(Small):
    """Gives all images the same embedding while it is traced or exported."""

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings, in an export those of a black image."""
        exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()
        return super().embed(images * 0.0 if exporting else images)


class Huge(Small):
    """Has feature maps that float16 cannot hold."""

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the feature maps, with a detour over large numbers."""
        return super().feature_maps(images * 1e6) / 1e6


def make(kind: type[Small]) -> ReidModel:
    """Return a model of a kind with the weights of the small model."""
    model = kind()
    model.load_state_dict(make_small_model().state_dict())
    return model.eval()


def test_the_images_of_the_check_have_embeddings_further_apart_than_every_tolerance():
    (demo,) = read_manifest([DATA / MANIFEST]).checkpoints
    pixels = make_pixels(demo.input.height, demo.input.width)
    embeddings = run_plainly(reidhub.load(DEMO), normalise((pixels * 255).byte(), demo.input))

    distances = torch.cdist(embeddings, embeddings) + torch.eye(len(pixels)) * 1e9

    assert (pixels >= 0).all() and (pixels <= 1).all()
    assert (distances.amin(1) / embeddings.norm(dim=1)).min() > 2 * max(TOLERANCES.values())


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_computes_other_embeddings_is_not_kept(form, checkpoint, tmp_path):
    with pytest.raises(ExportError, match=r"other embeddings than the module: relative error 1\.0e-04"):
        export(make(Different), checkpoint, tmp_path, format=form)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_constant_file_is_not_kept_even_with_the_tolerance_of_half(form, checkpoint, tmp_path):
    with pytest.raises(ExportError, match="other embeddings"):
        export(make(Constant), checkpoint, tmp_path, format=form, half=True, **FAST.get(form, {}))

    assert list(tmp_path.iterdir()) == []


def test_a_half_export_that_overflows_is_not_kept_and_the_hint_says_what_to_do(checkpoint, tmp_path):
    with pytest.raises(ExportError, match="other embeddings") as caught:
        export(make(Huge), checkpoint, tmp_path, format="onnx", half=True, **FAST["onnx"])

    assert "leave half out" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


class Inexact(Small):
    """Adds a large number and subtracts it again, which float32 cannot do exactly."""

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the feature maps."""
        return (super().feature_maps(images) + 1e4) - 1e4


def test_a_file_may_be_as_inexact_as_a_module_that_float32_makes_inexact(checkpoint):
    model = make(Inexact)
    metadata = describe(model, checkpoint, Choices("onnx", dynamic=True))
    exact = copy.deepcopy(model).double()

    def run_exactly(batches: list[Tensor], factor: float = 1.0) -> list[Tensor]:
        return [run_plainly(exact, batch.double()) * factor for batch in batches]

    assert check(run_exactly, model, metadata) > 1e-5
    with pytest.raises(ExportError, match="other embeddings"):
        check(partial(run_exactly, factor=1.01), model, metadata)


@pytest.mark.parametrize("found", [torch.nan, torch.inf])
def test_embeddings_that_are_no_numbers_do_not_pass(found, checkpoint):
    model = make_small_model()
    metadata = describe(model, checkpoint, Choices("onnx", half=True))

    with pytest.raises(ExportError, match="relative error inf"):
        check(lambda batches: [run_plainly(model, batch) * found for batch in batches], model, metadata)


@pytest.mark.parametrize("opset", [12, 17, 20])
def test_other_opsets_are_written_as_asked(opset, checkpoint, tmp_path):
    exported = export(make_small_model(), checkpoint, tmp_path, format="onnx", opset=opset, dynamic=True)

    import onnx

    assert onnx.load(exported.path).opset_import[0].version == opset
    assert ExportMetadata.of_texts(read_texts(exported.path), "the file").opset == opset
    assert (
        relative_error(run_file(exported.path, make_inputs(3)), run_plainly(make_small_model(), make_inputs(3))) < 1e-5
    )


@pytest.mark.parametrize("opset", [8, 99])
def test_an_opset_that_torch_or_the_runtime_does_not_know_is_an_error(opset, checkpoint, tmp_path, capfd):
    with pytest.raises(UsageError, match=rf"opset {opset} was asked for; there are 9 to \d+\n") as caught:
        export(make_small_model(), checkpoint, tmp_path, format="onnx", opset=opset)

    assert "opset 18" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("form", "choices"),
    [("onnx", {}), ("onnx", FAST["onnx"]), ("openvino", {}), pytest.param("torch-export", {}, marks=LONG)],
)
def test_a_file_does_not_name_the_folders_of_the_machine(form, choices, checkpoint, tmp_path):
    exported = export(make_small_model(), checkpoint, tmp_path, format=form, **choices)

    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert b"images" in content or path.suffix == ".bin"  # texts are not compressed
        assert str(ROOT).encode() not in content
        assert torch.__file__.removesuffix("/torch/__init__.py").encode() not in content
    assert exported.path.exists()


def test_a_path_with_a_slash_at_its_end_is_a_folder_that_is_made(checkpoint, tmp_path):
    exported = export(make_small_model(), checkpoint, f"{tmp_path}/new/models/", format="openvino")

    assert exported.path == tmp_path / "new" / "models" / f"{checkpoint.name}.xml"
    assert len(list(exported.path.parent.iterdir())) == 2


def test_a_file_that_its_runtime_cannot_run_is_not_kept(checkpoint, tmp_path, monkeypatch):
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise onnxruntime.capi.onnxruntime_pybind11_state.Fail("opset 18 is under development")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ExportError, match=r"onnxruntime .* cannot run the file of opset 17: .*under development"):
        export(make_small_model(), checkpoint, tmp_path, format="onnx", **FAST["onnx"])

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_with_force(checkpoint, tmp_path):
    model = make_small_model()
    (tmp_path / f"{checkpoint.name}.bin").write_text("mine")

    with pytest.raises(UsageError, match=r"\.bin exists") as caught:
        export(model, checkpoint, tmp_path, format="openvino")
    assert "force" in caught.value.hint
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]

    exported = export(model, checkpoint, tmp_path, format="openvino", force=True)
    assert relative_error(run_file(exported.path, make_inputs(1)), run_plainly(model, make_inputs(1))) < 1e-5
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bin", ".xml"]


def test_a_file_that_appears_during_the_export_is_not_replaced(checkpoint, tmp_path):
    choices = Choices("openvino")
    files = choose_files(checkpoint, choices, tmp_path, force=False)
    files[".xml"].write_text("mine")

    with pytest.raises(CacheError, match="File exists"):
        export_model(make_small_model(), checkpoint, choices, files)

    assert [path.name for path in tmp_path.iterdir()] == [files[".xml"].name]
    assert files[".xml"].read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_the_file_that_is_exported_is_never_replaced(force, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(save(reidhub.read_weights(DEMO)))

    with pytest.raises(UsageError, match="is the file to export"):
        reidhub.export(own, format="safetensors", path=tmp_path, force=force)


def test_wrong_paths_and_choices_are_errors_before_anything_is_exported(tmp_path, monkeypatch):
    folder = tmp_path / "exports"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for words, choices in {
        "ends with .onnx": {"format": "onnx", "path": "model.xml"},
        "only ONNX has operator sets": {"format": "openvino", "opset": 18},
        "weights alone": {"format": "safetensors", "dynamic": True},
        "unknown format 'engine'": {"format": "engine"},
        "an opset is a whole number": {"format": "onnx", "opset": 0},
    }.items():
        with pytest.raises(UsageError, match=words):
            reidhub.export(DEMO, **choices)
    Path("file").write_text("mine")
    with pytest.raises(CacheError, match=r"cannot write .*(Not a directory|File exists)"):
        reidhub.export(DEMO, format="safetensors", path="file/w.safetensors")
    Path("file").unlink()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS[:2])
def test_a_full_disk_leaves_nothing(form, checkpoint, tmp_path):
    with file_size_limit(1000), pytest.raises(ReidhubError) as caught:
        export(make_small_model(), checkpoint, tmp_path, format=form, **FAST.get(form, {}))

    assert isinstance(caught.value, DiskFullError) or form == "openvino"
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_an_error_that_names_the_extra(package, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ExportError, match=f"cannot be imported: .*{package}") as caught:
        export(make_small_model(), checkpoint, tmp_path, format="onnx", **FAST["onnx"])

    assert caught.value.hint == "pip install 'reidhub[onnx]'"
    assert list(tmp_path.iterdir()) == []


def test_the_command_for_tensorrt_names_the_shapes(checkpoint, tmp_path):
    metadata = describe(make_small_model(), checkpoint, Choices("onnx", dynamic=True, half=True))
    exported = Export(Path("my model.onnx"), metadata, "onnxruntime", 0.0)

    assert exported.trtexec == (
        "trtexec '--onnx=my model.onnx' '--saveEngine=my model.engine' --minShapes=images:1x3x16x8 "
        "--optShapes=images:16x3x16x8 --maxShapes=images:64x3x16x8 --fp16"
    )
    assert Export(Path("model.xml"), metadata, "openvino", 0.0).trtexec is None


def test_the_command_prints_the_path_and_how_the_file_was_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REIDHUB_MANIFEST", str(DATA / MANIFEST))

    done = run_here(monkeypatch, capsys, "export", str(DEMO), "--format", "openvino", "--dynamic")

    assert (done.returncode, done.stdout) == (0, "osnet_x0_25.demo_world.xml\n")
    assert "checked with openvino" in done.stderr and "largest relative error" in done.stderr
    again = run_here(monkeypatch, capsys, "export", str(DEMO), "--format", "openvino", "--json")
    assert (again.returncode, again.stdout) == (2, "")
    assert "--force" in again.stderr


@pytest.mark.long
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("form", [*FORMATS, "safetensors"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_exported_and_its_file_runs(name, form, dynamic, tmp_path):
    if form == "safetensors" and dynamic:
        pytest.skip("safetensors holds weights alone")
    torch.manual_seed(0)
    model = build(name, 5).eval()
    own = tmp_path / f"{name}.own.pth"
    torch.save(model.state_dict(), own)

    exported = reidhub.export(own, architecture=name, format=form, dynamic=dynamic, path=tmp_path)

    assert exported.error <= 1e-5
    assert exported.path.name == f"{name}.own{exported.path.suffix}"
    if form in ("onnx", "openvino"):
        pixels = (make_pixels(*model.input_size)[:3] * 255).byte()
        wanted = run_plainly(model, normalise(pixels, find_input(name)))
        assert relative_error(reidhub.embedder(exported.path)(pixels), wanted) < 1e-5


def find_input(name: str) -> InputSpec:
    """Return how images are prepared for the checkpoints of an architecture."""
    architecture = zoo().architecture(name)
    assert architecture is not None
    return architecture.input
