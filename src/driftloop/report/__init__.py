"""The report of one run: a page that stands alone, made from the run folder and nothing else.

`material` reads, `tables` selects, `words` says, `figures` draws what is ready, `strips` shows chains, `page` puts it together.
"""
