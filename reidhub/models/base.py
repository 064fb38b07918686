"""What every architecture of the zoo is to its callers."""

from torch import Tensor, nn

from reidhub.models.blocks import global_average

Logits = Tensor | tuple[Tensor, Tensor]
"""(N, num_classes); of a model with a global and a local classifier (hacnn) the pair of both."""


class ReidModel(nn.Module):
    """A network that maps person images to embeddings and, while it learns, to the people of its training set.

    An architecture defines `feature_maps`, a ``classifier``, and an ``fc`` where layers stand between the two.

    Attributes:
        input_size: (height, width) in pixels the zoo's checkpoints are used at.
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
        self.fc = None  # on the instance: a class attribute would hide the submodule of that name

    def feature_maps(self, images: Tensor) -> Tensor:
        """The last feature map that still has a place: (N, 3, H, W) -> (N, C, h, w)."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """What the classifier sees in train mode, and the embedding in eval mode: (N, 3, H, W) -> (N, D)."""
        pooled = global_average(self.feature_maps(images))  # (N, C, h, w) -> (N, C)
        return pooled if self.fc is None else self.fc(pooled)  # (N, C) -> (N, D)

    def classify(self, embedding: Tensor) -> Logits:
        """Scores of the training set's people for embeddings: (N, D) -> (N, num_classes)."""
        return self.classifier(embedding)

    def initialise_rest(self) -> None:
        """Fill in place what the habits of `init.initialise` do not suit: nothing, in most architectures."""

    def forward(self, images: Tensor, *, return_embedding: bool = False) -> Logits | tuple[Logits, Tensor]:
        """Embeddings in eval mode, logits in train mode.

        Args:
            images: (N, 3, H, W), normalised as the checkpoint wants them.
            return_embedding: in train mode, return ``(logits, embedding)``, for losses that need both; eval mode
                returns the embedding alone, whatever is said here.

        Returns:
            (N, D) in eval mode, (N, num_classes) in train mode.
        """
        embedding = self.embed(images)
        if not self.training:
            return embedding
        logits = self.classify(embedding)
        return (logits, embedding) if return_embedding else logits
