"""Inference: preprocessing, and models that run faster and give the same embeddings."""

from reidhub.inference.embedder import Embedder
from reidhub.inference.engine import make_plain_engine
from reidhub.inference.plans import EmbedderPlan, plan_for
from reidhub.inference.upload import upload_ahead
from reidhub.torch_settings import Precision

__all__ = ["Embedder", "EmbedderPlan", "Precision", "make_plain_engine", "plan_for", "upload_ahead"]
