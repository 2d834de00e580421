"""A small process beside the one that measures: it ends what hangs, and completes the run file of what was killed."""
