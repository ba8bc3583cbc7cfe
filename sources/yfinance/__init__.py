"""The yfinance source."""
