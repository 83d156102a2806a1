"""A page of HTML that shows a mesh, beside the scan that it was made from."""
