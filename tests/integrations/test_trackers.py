"""The trackers of boxmot, ultralytics, deep_sort_realtime and Roboflow run with our adapters over drawn frames.

Every tracker gets frames in which three people walk, one of them out of the frame, and a frame without people. Where a
package can run the demo's checkpoint itself, its own features are compared with the adapter's.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.walking_people import FRAMES, WIDTH, are_followed, close, length_one

from reidhub.demo import DATA, FILE_NAME
from reidhub.inference import Embedder

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages


def expect(embed: Embedder, frame, boxes) -> NDArray[np.float32]:
    """Embeddings of boxes in a BGR frame, by way of an RGB frame; NaN for a box outside of the frame."""
    return embed.boxes(frame[..., ::-1], boxes, color="rgb", on_empty="nan").numpy()


@dataclass
class Recorder:
    """Passes calls on to the function of an adapter and keeps arguments and result."""

    function: Any
    calls: list[tuple[Any, Any]] = field(default_factory=list)

    def __call__(self, *arguments: Any) -> Any:
        result = self.function(*arguments)
        self.calls.append((arguments, result))
        return result


@dataclass
class RecordedModel:
    """A ``reid_model`` for boxmot that records."""

    get_features: Recorder


@pytest.mark.parametrize("name", ["BotSort", "DeepOcSort", "StrongSort", "BoostTrack", "HybridSort", "OccluBoost"])
def test_trackers_of_boxmot_follow_people(name: str, embed, scene, package):
    boxmot = package("boxmot")
    recorder = Recorder(embed.for_tracker("boxmot").get_features)
    options = {"use_embeddings": True} if name == "BoostTrack" else {}  # all others use them by default
    tracker = getattr(boxmot, name)(reid_model=RecordedModel(recorder), **options)

    tracks = []
    for frame, boxes in scene:
        more = np.tile(np.array([[0.9, 0]], dtype=np.float32), (len(boxes), 1))  # score, class
        tracks.append(tracker.update(np.hstack([boxes, more]), frame))

    people = [{int(row[7]): int(row[4]) for row in found} for found in tracks]  # detection -> id
    assert are_followed(people)
    assert len(recorder.calls) == FRAMES and len(tracks[-1]) == 0
    for (boxes, frame), got in recorder.calls:
        inside = boxes[:, 0] < WIDTH
        assert close(got[inside], length_one(expect(embed, frame, boxes[inside])))


def test_boxmots_own_model_gives_the_same_features_and_shapes(embed, scene, package, tmp_path: Path):
    core = package("boxmot.reid.core")
    weights = tmp_path / "osnet_x0_25_demo.pt"
    torch.save(torch.load(DATA / FILE_NAME, weights_only=True), weights)
    own, ours = core.ReID(weights=weights, device=torch.device("cpu"), half=False).model, embed.for_tracker("boxmot")

    frame, boxes = scene.frames[FRAMES - 1], scene.boxes[FRAMES - 1]  # one box is outside
    got, want = ours.get_features(boxes, frame), own.get_features(boxes, frame)

    assert got.shape == want.shape and got.dtype == want.dtype
    assert (got * want).sum(axis=1).min() > 0.999  # cosine; OpenCV resizes a little differently
    assert ours.get_features(boxes[:0], frame).shape == own.get_features(boxes[:0], frame).shape


@pytest.mark.parametrize("name", ["botsort", "deepocsort", "tracktrack"])
def test_trackers_of_ultralytics_follow_people(name: str, embed, scene, ultralytics):
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import YAML, IterableSimpleNamespace
    from ultralytics.utils.checks import check_yaml

    settings = IterableSimpleNamespace(**YAML.load(check_yaml(f"{name}.yaml")))
    tracker = TRACKER_MAP[name](settings)
    tracker.encoder = recorder = Recorder(embed.for_tracker("ultralytics"))
    settings.with_reid, settings.model = True, "reidhub"

    tracks = []
    for frame, boxes in scene:
        more = np.tile(np.array([[0.9, 0]], dtype=np.float32), (len(boxes), 1))  # score, class
        tracks.append(tracker.update(Boxes(np.hstack([boxes, more]), frame.shape[:2]), frame))

    people = [{int(row[7]): int(row[4]) for row in found} for found in tracks[:FRAMES]]
    assert are_followed(people)
    assert len(recorder.calls) == FRAMES and len(tracks[-1]) == 0
    for ((frame, _), got), boxes in zip(recorder.calls, scene.boxes, strict=False):
        for row, want in zip(got, expect(embed, frame, boxes), strict=True):
            assert row is None if np.isnan(want).any() else close(row, want)
    assert recorder.calls[-1][1][2] is None


def test_yolo_asks_the_encoder_of_a_callback(embed, scene, ultralytics, tmp_path: Path):
    from ultralytics.utils import YAML
    from ultralytics.utils.checks import check_yaml

    recorder = Recorder(embed.for_tracker("ultralytics"))

    def use_reidhub(predictor: Any) -> None:
        for tracker in predictor.trackers:
            tracker.encoder = recorder
            tracker.args.with_reid, tracker.args.model = True, "reidhub"

    everything = {"track_high_thresh": 1e-6, "track_low_thresh": 1e-8, "new_track_thresh": 1e-6}
    YAML.save(tmp_path / "all.yaml", {**YAML.load(check_yaml("botsort.yaml")), **everything})
    torch.manual_seed(0)
    detector = ultralytics.YOLO("yolo26n.yaml")  # of random weights: it detects something everywhere
    detector.add_callback("on_predict_batch_start", use_reidhub)
    options = {"conf": 1e-9, "max_det": 3, "device": "cpu", "verbose": False}
    detector.track(scene.frames[:2], tracker=tmp_path / "all.yaml", **options)

    assert len(recorder.calls) == 2
    for ((given, dets), got), frame in zip(recorder.calls, scene.frames[:2], strict=True):
        boxes = np.hstack([dets[:, :2] - dets[:, 2:4] / 2, dets[:, :2] + dets[:, 2:4] / 2])
        assert np.array_equal(given, frame) and len(dets) == 3
        assert close(np.stack(got), expect(embed, frame, boxes))


def test_deep_sort_realtime_follows_people(embed, scene, package):
    tracker = package("deep_sort_realtime.deepsort_tracker").DeepSort(embedder=None, n_init=2)
    tracker.embedder = embed.for_tracker("deep_sort_realtime")

    people = []
    for frame, boxes in scene:
        detections = [([x1, y1, x2 - x1, y2 - y1], 0.9, number) for number, (x1, y1, x2, y2) in enumerate(boxes)]
        tracks = tracker.update_tracks(detections, frame=frame)
        people.append({track.det_class: track.track_id for track in tracks if track.is_confirmed()})
        for track in tracks:
            if track.time_since_update == 0 and boxes[track.det_class, 0] < WIDTH:
                want = expect(embed, frame, boxes[[track.det_class]])[0]
                assert close(track.get_feature(), want)

    assert len({(ids[0], ids[1]) for ids in people[1:]}) == 1


def test_roboflows_own_model_gives_the_same_embeddings_and_shapes(embed, scene, package):
    reid, supervision = package("reid"), package("supervision")
    own = reid.ReIDModel.from_pretrained(str(DATA / FILE_NAME), architecture="osnet_x0_25", device="cpu")
    ours = embed.for_tracker("supervision")

    for frame, boxes in scene:
        detections = supervision.Detections(boxes) if len(boxes) else supervision.Detections.empty()
        got, want = ours.extract_embeddings(detections, frame), own.extract_embeddings(detections, frame)
        assert got.shape == want.shape and close(got, want)


def test_embeddings_travel_with_detections_through_roboflows_tracker(embed, scene, package):
    trackers, supervision = package("trackers"), package("supervision")
    ours, tracker, people = embed.for_tracker("supervision"), trackers.BoTSORTTracker(), []

    for frame, boxes in zip(scene.frames[:FRAMES], scene.boxes, strict=False):
        detections = supervision.Detections(boxes, confidence=np.full(len(boxes), 0.9))
        detections.data["embedding"] = ours.extract_embeddings(detections, frame)
        tracked = tracker.update(detections, frame)
        people += [
            (number, row)
            for number, row in zip(tracked.tracker_id, tracked.data["embedding"], strict=True)
            if number >= 0
        ]

    by_person = {number: length_one(np.stack([row for n, row in people if n == number])) for number, _ in people}
    first, second = [rows for _, rows in sorted(by_person.items())][:2]
    assert (first @ first.T).min() > (first @ second.T).max()
