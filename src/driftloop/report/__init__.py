"""The report of one run: a page that stands alone, made from the run folder and nothing else.

`material` reads, `tables` selects, `words` and `cells` say, `figures` draws what is ready, `strips` shows chains. A section is
one file of `sections`, put together from `parts`, and one line in `page`, which puts the page together.
"""
