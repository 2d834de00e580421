"""What a change of a kernel does to tokens/s: from a run and its baseline, and what there is left to gain."""
