"""The report of a benchmark: a page, tables and pictures (`page.write`)."""
