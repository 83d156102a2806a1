"""Points as text: a table of numbers whose separators, header and columns are to be found."""
