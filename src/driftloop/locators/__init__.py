"""Where the person or the face is: one file per way to find it."""
