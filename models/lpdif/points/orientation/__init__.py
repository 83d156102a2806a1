"""The orientation of normals: which side of each is outside.

`orient` decides, from the files below it: `given_normals` (do they fit, are their signs scattered), `orient_to_viewpoint` (a known sensor
or a likely viewpoint), `visibility` (was a closed scan seen from within) and `justified_flips`. `orient_axes` finds the signs: it starts
from `propagation` along a spanning tree, and minimises the `energy` of `blocks` of points over the `winding` number, the agreement of
neighbours, and `priors`.
"""
