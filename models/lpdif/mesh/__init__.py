"""What is done to a triangle mesh: topology, trimming to the data, holes, watertight closing, simplification, confidence."""
