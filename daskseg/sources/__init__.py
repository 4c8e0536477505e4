"""Sources: from files to typed ledger lines, and the cleaning that accounts for each of them."""
