"""Intervals, tests, distances and resampling; numpy and scipy only. The unit of independence is the seed (or its cohort)."""
