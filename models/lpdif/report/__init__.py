"""Reports of runs: HTML files that hold everything they show, without script and without requests."""
