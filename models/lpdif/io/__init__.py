"""Files of others: scans and meshes in many formats, read and written."""
