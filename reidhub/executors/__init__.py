"""Where the shards of a long job run: in one process, in parts in several processes, or in the workers of Ray."""
