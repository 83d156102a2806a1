"""Connected components of large graphs, some of whose links are looked at at a time.

scipy's graph of all links, in float64 and with its transpose, takes far more memory than the points or faces they come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import NumberArray, index_type


def linked_components(count: int, links: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> NumberArray:
    """(count,) number of the connected component of each node, in the order of their lowest nodes.

    links: some pairs of linked nodes at a time, as two arrays. The result does not depend on how they are shared out.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    lowest: NumberArray = np.arange(count, dtype=index_type(count))  # leads to the lowest node of the component, maybe through others
    for ends in links:
        at = np.concatenate(ends)
        while ((further := lowest[at]) != at).any():
            at = further
        node, row = np.unique(at, return_inverse=True)
        pair = row.reshape(2, -1)
        graph = coo_matrix((np.ones(pair.shape[1], np.int8), (pair[0], pair[1])), shape=(len(node), len(node)))
        label = connected_components(graph, directed=False)[1]
        lowest[node] = node[np.unique(label, return_index=True)[1]][label]
    while ((further := lowest[lowest]) != lowest).any():
        lowest = further
    number: NumberArray = np.cumsum(lowest == np.arange(count), dtype=lowest.dtype)
    number -= 1
    return number[lowest]
