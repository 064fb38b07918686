"""Models made fast: images become embeddings, with what pays for the architecture and nothing that changes them."""

from reidhub.inference.embedder import Embedder
from reidhub.inference.plans import Plan, plan_for
from reidhub.inference.upload import uploaded
from reidhub.torch_settings import Precision

__all__ = ["Embedder", "Plan", "Precision", "plan_for", "uploaded"]
