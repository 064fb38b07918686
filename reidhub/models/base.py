"""The base class of all architectures of the zoo."""

from torch import Tensor, fx, nn

from reidhub.models.blocks import pool_average

Logits = Tensor | tuple[Tensor, ...]
"""Scores of the training classes, (N, num_classes); a tuple of such tensors for a model with several classifiers."""


class ReidModel(nn.Module):
    """A network that maps person images to embeddings (eval mode) or to scores of the training classes (train mode).

    Each class is one person of the training set. A subclass defines `feature_maps` and ``classifier``, and also ``fc``
    if it has layers between pooling and classifier. A subclass that pools in another way, or has several classifiers,
    defines `embed` and `classify` instead.

    Attributes:
        input_size: (height, width) in pixels of the images that the zoo's checkpoints of this architecture expect.
        embedding_dim: D, the length of an embedding.
        num_classes: rows of the classifier.
    """

    input_size: tuple[int, int] = (256, 128)
    fc: nn.Module | None
    classifier: nn.Module

    def __init__(self, embedding_dim: int, num_classes: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.num_classes = num_classes
        self.fc = None  # not on the class: a class attribute would hide the submodule ``fc``

    def feature_maps(self, images: Tensor) -> Tensor:
        """Compute the feature map before global pooling: (N, 3, H, W) -> (N, C, h, w)."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings, which are also the input of the classifier: (N, 3, H, W) -> (N, D)."""
        pooled = pool_average(self.feature_maps(images))  # (N, C, h, w) -> (N, C)
        return pooled if self.fc is None else self.fc(pooled)  # (N, C) -> (N, D)

    def classify(self, embedding: Tensor) -> Logits:
        """Compute the scores of the training classes from embeddings: (N, D) -> (N, num_classes)."""
        return self.classifier(embedding)

    def initialise_rest(self) -> None:
        """Set, in place, the initial values that must differ from the usual ones of `init.initialise`.

        `init.initialise` calls this method at its end. In the base class, the method does nothing.
        """

    def classify_and_embed(self, images: Tensor) -> tuple[Logits, Tensor]:
        """Compute the scores of the training classes and the embeddings, for losses that need both.

        Hooks and wrappers such as ``DistributedDataParallel`` act only on calls of a model itself. With them, call this
        method in the ``forward`` of a module of your own.

        Args:
            images: (N, 3, H, W), normalised as the checkpoint expects.

        Returns:
            `Logits` and embeddings (N, D).
        """
        embedding = self.embed(images)
        return self.classify(embedding), embedding

    def forward(self, images: Tensor) -> Logits:
        """Compute embeddings in eval mode; compute logits (the scores of the training classes) in train mode.

        Args:
            images: (N, 3, H, W), normalised as the checkpoint expects.

        Returns:
            Embeddings (N, D) in eval mode, `Logits` in train mode.
        """
        embedding = self.embed(images)
        return self.classify(embedding) if self.training else embedding

    def __prepare_scriptable__(self) -> nn.Module:
        """Return the graph that `torch.jit.script` compiles in place of this model.

        The graph keeps the mode, train or eval, that the model has now. TorchScript cannot compile the Python code of
        the models. PyTorch calls this method.
        """
        traced = fx.symbolic_trace(self)
        for output in traced.graph.find_nodes(op="output"):
            output.type = None  # TorchScript cannot read `Logits`
        traced.recompile()
        return traced
