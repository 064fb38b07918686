"""Models made fast: images become embeddings, with what pays for the architecture and nothing that changes them."""

from reidhub.embedding.embedder import Embedder
from reidhub.embedding.plans import Plan, plan_for
from reidhub.embedding.precision import Precision
from reidhub.embedding.uploading import uploaded

__all__ = ["Embedder", "Plan", "Precision", "plan_for", "uploaded"]
