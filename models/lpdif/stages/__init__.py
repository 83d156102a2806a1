"""The four stages: preprocess, fit, cluster, reconstruct. The only core code that sees configurations."""
