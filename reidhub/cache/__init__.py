"""Store, find, check, remove and import the files in the cache, which is the folder of downloaded files."""
