"""Where seeds come from: one file for each data set, each read as it really is on disk."""
