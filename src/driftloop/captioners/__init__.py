"""Image to text: one file per kind of captioner."""
