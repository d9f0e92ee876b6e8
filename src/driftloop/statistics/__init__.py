"""Intervals, tests, distances and resampling; numpy and scipy only. What is independent is the seed, or its cohort."""
