"""One checkpoint's file from its sources into the cache."""
