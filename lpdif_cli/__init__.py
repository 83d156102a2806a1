"""The command line of lpdif: parses, makes one library call, prints. No tensor lives here."""
