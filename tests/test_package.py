"""The package as a whole: every module can be imported, and no folder hides a public function."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image
from support.local_zoos import Entry, file_of, write_zoo
from support.paths import ROOT

CALL_EVERYTHING = """
import pkgutil, sys, torch
from importlib import import_module
import reidhub

for module in pkgutil.walk_packages(reidhub.__path__, "reidhub."):
    if module.name != "reidhub.__main__":
        import_module(module.name)

name, embeddings, labels = sys.argv[1], torch.eye(2), torch.arange(2)
calls = {
    "Checkpoint": lambda: reidhub.Checkpoint.__name__,
    "ReidhubError": lambda: reidhub.ReidhubError("no"),
    "__version__": lambda: reidhub.__version__.count("."),
    "build": lambda: reidhub.build("osnet_x0_25", 3),
    "checkpoints": lambda: reidhub.checkpoints(),
    "compat": lambda: reidhub.compat.FeatureExtractor.__name__,
    "complexity": lambda: reidhub.complexity(reidhub.build("osnet_x0_25", 3)).params,
    "doctor": lambda: reidhub.doctor(reidhub.fetch(name)),
    "embed": lambda: reidhub.embed(
        name, sys.argv[2] + "/query", sys.argv[2] + "/out", device="cpu", precision="exact"
    ).embedded,
    "embedder": lambda: reidhub.embedder(name, precision="exact", batch=1),
    "evaluate": lambda: reidhub.evaluate(name, sys.argv[2], device="cpu", precision="exact")[0].mAP,
    "export": lambda: reidhub.export(name, format="openvino", path=sys.argv[2]).path,
    "fetch": lambda: reidhub.fetch(name),
    "find": lambda: reidhub.find(name),
    "load": lambda: reidhub.load(name),
    "metrics": lambda: reidhub.metrics.evaluate(embeddings, embeddings, labels, labels, labels, 1 - labels).mAP,
    "rank": lambda: reidhub.rank(
        name, sys.argv[2] + "/query", sys.argv[2] + "/gallery", device="cpu", precision="exact"
    )[0].images[0].path,
    "read_weights": lambda: reidhub.read_weights(reidhub.fetch(name)),
    "transform": lambda: reidhub.transform(name),
    "verify": lambda: reidhub.verify(name, sys.argv[2], datasets=["market1501"], device="cpu").results,
}
assert calls.keys() == set(reidhub.__all__), calls.keys() ^ set(reidhub.__all__)
for public in reidhub.__all__:
    assert calls[public]() is not None, public
print("called", len(calls))
"""


def test_every_public_name_works_after_every_module_was_imported(tmp_path: Path):
    manifest = write_zoo(tmp_path, Entry("osnet_x0_25.mine", file_of("osnet_x0_25", 5)))
    environment = {**os.environ, "REIDHUB_MANIFEST": manifest}
    for name in ("query/0001_c1s1_000001_01.jpg", "gallery/0001_c2s1_000001_01.jpg", "gallery/0002_c1s1_000001_01.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 32), "red").save(tmp_path / name)
    command = [sys.executable, "-c", CALL_EVERYTHING, "osnet_x0_25.mine", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    assert done.stdout.startswith("called"), done.stderr


def test_at_most_seven_modules_stand_at_the_top_of_the_package():
    modules = sorted(path.name for path in (ROOT / "reidhub").glob("*.py") if not path.name.startswith("__"))
    assert len(modules) <= 7, modules
