"""One cloud as Python calls: plain data in and out, no Libcloud entities."""
