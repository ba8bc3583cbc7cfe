"""Yahoo Finance through the yfinance client: prices of crypto currencies and stocks, and company facts.

settings.py reads the YAML, resource.py walks the tickers, yahoo.py asks, chart.py and facts.py read the answers.
"""
