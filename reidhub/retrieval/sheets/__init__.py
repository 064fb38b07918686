"""Contact sheets: each query, and beside it the images of the gallery that are nearest to it."""
