"""One packet on its way: captured on every device that it crosses, decoded, and told hop by hop."""
