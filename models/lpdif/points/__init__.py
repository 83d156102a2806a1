"""From a scan to clean, oriented points: what is valid, how dense, how noisy, which way normals look."""
