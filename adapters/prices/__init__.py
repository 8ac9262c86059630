"""Where prices come from: the configuration, a price library, and our own small table, in this order."""

from perdure.adapters.prices.books import Books, ConfiguredPrices
from perdure.adapters.prices.library import LibraryPrices
from perdure.adapters.prices.table import TABLE_VERSION, TablePrices

__all__ = ["TABLE_VERSION", "Books", "ConfiguredPrices", "LibraryPrices", "TablePrices"]
