"""The zero surface of a field: a narrow band of lattice cells near the points, and marching cubes."""
