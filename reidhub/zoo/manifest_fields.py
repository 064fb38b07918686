"""The fields of a manifest file, each with what it is for; for an example, see the docs, page Manifest.

`python -m tools.write_manifest_schema` writes `manifest/schema.json` from them. The regular expressions mean the same
in Python and in JavaScript, because editors check manifests with them.
"""

from reidhub.files.strict_yaml import Fields
from reidhub.zoo.checkpoint import METRICS

CHECKPOINT_NAME = r"[a-z0-9_]+\.[a-z0-9_]+"
FIGURE = r"[0-9]+(\.[0-9]+)?"
LINKS = {
    "mega": r"https?://mega(\.co)?\.nz/(#(!|%21)|file/)[0-9A-Za-z_-]{8}(!|%21|#)[0-9A-Za-z_-]{43}",
    "gdrive": r"https://(drive|drive\.usercontent|docs)\.google\.com/\S*[0-9A-Za-z_-]{20,}\S*",
    "https": r"https://[^\s/@]+/\S+",
    "local": r"file:///\S.*",
}
"""Kind of a source -> regular expression of its links."""

_INPUT_SIZE = "of the images that the model expects, in pixels"
_CHANNELS = "three numbers, for red, green and blue"

INPUT = Fields(
    "an input",
    required={
        "height": f"height {_INPUT_SIZE}",
        "width": f"width {_INPUT_SIZE}",
        "mean": f"what is subtracted from colours in [0, 1]: {_CHANNELS}",
        "std": f"by what colours are divided after that: {_CHANNELS}",
        "interpolation": "PIL's filter for resizing: bilinear or bicubic",
    },
)

LAYOUT = Fields(
    "a layout",
    optional={
        "root": "key under which the file holds the tensors",
        "strip_prefix": "prefix to remove from every tensor's name",
        "encoding": "encoding of texts that Python 2 wrote: ascii or latin1",
        "skip": "names of tensors to leave out",
        "rename": "names of tensors, or starts of names that end with a dot, each with the new name",
        "constants": "names of tensors, each with the numbers that it must have; such a tensor is left out",
    },
)

FILE = Fields(
    "a file",
    optional={
        "original": "the author's file name",
        "sha256": "64 hexadecimal digits",
        "size": "number of bytes",
        "evidence": "text that says where sha256, size and expected_size come from",
        "grade": "how good the evidence for sha256 and size is: proven, strong or single",
        "expected_size": "number of bytes, or list of such numbers, that is computed from the file's format",
        "sha256_prefix": "first digits of the sha256, from the author's file name",
        "layout": "how the file stores its tensors, or the name of an entry under layouts",
    },
    nested={"layout": LAYOUT},
)

SCORE = Fields(
    "a score",
    required={
        "dataset": "the dataset that the model was tested on",
        "source": "text that says where the figures were published",
    },
    optional={
        **dict.fromkeys(METRICS, "figure with its reported digits, in percent and in quotes"),
        "not_comparable": "why reidhub cannot confirm or refute the figures",
    },
)

MEASUREMENT = Fields(
    "an independent measurement",
    required={
        "dataset": "the dataset that the model was tested on",
        "who": "who measured the figures",
        "how": "how they were measured: distance, number of images, evaluation code",
        "source": "text that says where the figures were published",
    },
    optional=dict.fromkeys(METRICS, "figure with its reported digits, in percent and in quotes"),
)

CHECKPOINT = Fields(
    "a checkpoint",
    required={
        "name": "the model, a dot, and a tag of your choice, such as osnet_x1_0.mine",
        "model": "the architecture, such as osnet_x1_0",
        "file": "what is known about the file, such as {original: mine.pth}",
        "sources": "list of places of the file, such as [{local: mine.pth}]; for a single place, use source instead",
    },
    optional={
        "source": "the place of the file, such as {local: mine.pth}; for several places, use sources instead",
        "trained_on": "list of the training datasets; not known if missing",
        "combineall": "true: trained on the train, query and gallery images; false if missing",
        "from_scratch": "true: not trained from ImageNet weights; false if missing",
        "num_classes": "number of classes; read from the file if missing",
        "input": "how images are prepared; as the architecture's entry says if missing",
        "distance": "euclidean or cosine; euclidean if missing",
        "params_m": "reported number of parameters, in millions and in quotes",
        "gflops": "reported number of multiply-adds, in 10^9 and in quotes",
        "loss": "training loss",
        "transforms": "list of the training augmentations",
        "scores": "list of the published scores, one entry for each dataset",
        "measured_elsewhere": "list of figures that others measured by the same protocol",
        "licence": "terms of use of the weights; not stated if missing",
        "notices": "list of sentences that every user should read",
    },
    either={"sources": "source"},
    nested={"file": FILE, "input": INPUT, "scores": SCORE, "measured_elsewhere": MEASUREMENT},
)

COMPLEXITY = Fields(
    "a cost",
    required={
        "params": "number of parameters, each counted once",
        "params_by_calls": "number of parameters, counted once for each call of their module",
        "multiply_adds": "number of multiply-adds for one image",
    },
)

ARCHITECTURE = Fields(
    "an architecture",
    required={
        "name": "name of the architecture",
        "paper": "title and arXiv id",
        "input": "how images are prepared for its checkpoints",
    },
    optional={
        "starts_from": "weights that training starts from: a checkpoint, torchvision:WEIGHTS or scratch",
        "default": "the checkpoint that the architecture's name alone means",
        "printed_params": "how published tables count parameters: distinct or calls",
        "computed": "the cost that reidhub.complexity counts",
    },
    nested={"input": INPUT, "computed": COMPLEXITY},
)

KNOWN_LAYOUT = Fields(
    "a named layout",
    required={
        "name": "name of the layout",
        "about": "which files have this layout",
        "signs": "patterns with wildcards for names of tensors; a file of this layout has a name for each",
        "architectures": "list of the architectures that load such files",
    },
    optional={
        **LAYOUT.optional,
        "differs": "patterns for names of architectures, each with the reason why such a file is another network",
    },
)

KNOWN_FILE_DIGESTS = {
    "sha256": "64 hexadecimal digits",
    "sha256_prefix": "first digits of the sha256, at least 8",
    "git_blob": "the id that git gives to the file's content: 40 hexadecimal digits, or the first 8 or more",
}

KNOWN_FILE = Fields(
    "a known file",
    required={
        "what": "what the file is; the end of a sentence that begins with: it is",
        "evidence": "text that says how this is known",
    },
    optional={
        **KNOWN_FILE_DIGESTS,
        "checkpoint": "the checkpoint of the zoo whose published file a user wants instead",
        "likelihood": "probably or perhaps, if what is not certain",
    },
)

MANIFEST = Fields(
    "a manifest",
    required={"checkpoints": "list of the checkpoints"},
    optional={
        "architectures": "list of the architectures",
        "layouts": "list of layouts that several files have",
        "known_files": "list of other people's files, such as files that are not what their names say",
    },
    nested={
        "checkpoints": CHECKPOINT,
        "architectures": ARCHITECTURE,
        "layouts": KNOWN_LAYOUT,
        "known_files": KNOWN_FILE,
    },
)
