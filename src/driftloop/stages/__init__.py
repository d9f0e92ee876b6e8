"""The stages in their order; each reads the files of the stages before and writes its own."""
