"""A sweep's trials as columns, and the figures made of them: for the page, the notebook, tables and CSV.

Nothing here asks a store or a service, and nothing loads plotly: a figure is a plain dict in plotly's schema.
"""
