"""Where the shards of a long job run: in this process, a part of them in each process of a cluster, or on Ray."""
