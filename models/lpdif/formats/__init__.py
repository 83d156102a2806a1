"""One module a file format; each turns the bytes of one file into a Scan. `lpdif.reading` chooses among them."""
