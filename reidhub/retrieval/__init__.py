"""Embeddings of many images in a folder of Parquet files, rankings of a gallery, contact sheets and activation maps."""
