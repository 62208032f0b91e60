"""Benchmarks: this pack against the stock host and against diffusers, as ratios within one run."""
