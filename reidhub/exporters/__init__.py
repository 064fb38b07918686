"""Files that run elsewhere: exports for other runtimes, and folders and cards for a model hub."""
