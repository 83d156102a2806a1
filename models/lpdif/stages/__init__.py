"""The four stages: preprocess, fit, cluster, reconstruct. Only these see configurations."""
