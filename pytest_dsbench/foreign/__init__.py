"""Times that were measured elsewhere, made into runs: tables, pytest-benchmark's JSON, flashinfer-bench's traces.

A reader yields what it found row by row, and a sentence for each row it cannot use; the rest is common: which data sheet, which
case, what bound, which file.
"""
