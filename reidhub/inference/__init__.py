"""Inference: preprocessing, and models that run faster and give the same embeddings."""

from reidhub.inference.embedder import Embedder
from reidhub.inference.engine import make_engine, make_plain_engine
from reidhub.inference.upload import upload_ahead
from reidhub.torch_settings import Precision

__all__ = ["Embedder", "Precision", "make_engine", "make_plain_engine", "upload_ahead"]
