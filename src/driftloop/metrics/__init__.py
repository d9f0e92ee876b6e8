"""Further tables of a run: one file each, chosen by `metric`."""
