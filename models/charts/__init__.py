"""Charts as data: Vega-Lite documents with the numbers behind them.

A document has no colour of its own: styles and CSS variables are in `models.charts.theme`, so that
one drawing serves a light and a dark page.
"""
