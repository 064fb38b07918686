"""Trackers that load exported files themselves: the file gives the module's embeddings there.

The module gets the very pixels that the package has prepared. The last tests compare with the embedder, which prepares
the pixels as published.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.walking_people import FRAMES, are_followed, close, length_one

import reidhub
from reidhub.demo import DATA, FILE_NAME

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages
CASES = {
    "fixed": {"format": "onnx", "with_preprocessing": True},
    "dynamic": {"format": "onnx", "with_preprocessing": True, "dynamic": True},
    "onnx": {"format": "onnx"},
    "xml": {"format": "openvino"},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports the demo's checkpoint; each case once."""
    files: dict[str, Path] = {}

    def export(case: str) -> Path:
        if case not in files:
            files[case] = reidhub.export(DATA / FILE_NAME, path=tmp_path_factory.mktemp(case), **CASES[case]).path
        return files[case]

    return export


def to_xywh(boxes: Any) -> Any:
    """Corners -> centre and size."""
    return np.hstack([(boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]])


@pytest.mark.parametrize("case", ["fixed", "dynamic"])
def test_ultralytics_gets_the_embeddings_of_the_module_from_a_file_that_normalises(
    case, exported, embed, scene, ultralytics, monkeypatch
):
    from ultralytics.trackers.utils.reid import ReID

    encoder, fed = ReID(str(exported(case)), device="cpu"), []
    prepare = encoder._crops_to_tensor
    monkeypatch.setattr(encoder, "_crops_to_tensor", lambda crops: fed.append((crops, prepare(crops))) or fed[-1][1])
    got = np.stack(encoder(scene.frames[0], to_xywh(scene.boxes[0])))

    (crops, pixels), *more = fed
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert not more and pixels.min() >= 0 and pixels.max() <= 1
    assert close(got, embed((pixels - mean) / std).numpy())
    ours = embed([crop[..., ::-1] for crop in crops]).numpy()  # the same crops, resized as published
    assert (length_one(got) * length_one(ours)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("name", ["botsort", "deepocsort", "tracktrack"])
def test_trackers_of_ultralytics_follow_people_with_an_exported_file(name, exported, scene, ultralytics):
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import YAML, IterableSimpleNamespace
    from ultralytics.utils.checks import check_yaml

    settings = {**YAML.load(check_yaml(f"{name}.yaml")), "with_reid": True, "model": str(exported("fixed"))}
    tracker = TRACKER_MAP[name](IterableSimpleNamespace(**settings))
    people = []
    for frame, boxes in list(scene)[:FRAMES]:
        more = np.tile(np.array([[0.9, 0]], dtype=np.float32), (len(boxes), 1))  # score, class
        tracks = tracker.update(Boxes(np.hstack([boxes, more]), frame.shape[:2]), frame)
        people.append({int(row[7]): int(row[4]) for row in tracks})

    assert are_followed(people)


@pytest.mark.parametrize("case", ["onnx", "xml"])
def test_boxmot_gets_the_embeddings_of_the_module_from_a_file(case, exported, embed, scene, package, monkeypatch):
    model, fed = package("boxmot.reid.core").ReID(exported(case)).model, []
    prepare = model.get_crops
    monkeypatch.setattr(model, "get_crops", lambda *arguments: fed.append(prepare(*arguments)) or fed[-1])
    frame, boxes = scene.frames[0], scene.boxes[0]
    got = model.get_features(boxes, frame)

    (pixels,) = fed
    assert close(got, length_one(embed(pixels).numpy()))
    ours = embed.for_tracker("boxmot").get_features(boxes, frame)
    assert (got * ours).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("case", ["onnx", "xml"])
@pytest.mark.parametrize("name", ["BotSort", "DeepOcSort", "StrongSort", "BoostTrack", "HybridSort", "OccluBoost"])
def test_trackers_of_boxmot_follow_people_with_an_exported_file(name, case, exported, scene, package):
    options = {"use_embeddings": True} if name == "BoostTrack" else {}  # all others use them by default
    tracker = getattr(package("boxmot"), name)(reid_weights=exported(case), **options)
    people = []
    for frame, boxes in list(scene)[:FRAMES]:
        more = np.tile(np.array([[0.9, 0]], dtype=np.float32), (len(boxes), 1))  # score, class
        people.append({int(row[7]): int(row[4]) for row in tracker.update(np.hstack([boxes, more]), frame)})

    assert are_followed(people)
