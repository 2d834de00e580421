"""The gate, in the order in which a run passes through it.

`nights` makes of a run what can be judged, `baseline` is what was accepted before, found by `sources`. `screen` says how
unusual a case is, `fitness` whether it can be held against the past at all, `judge` what became of it, `judgement` what
became of the run. In a live run `watch` judges each case as it is timed and `confirming` measures a suspect again. `finish`
ends a run, and `accepting` decides what of it enters the baseline.
"""
