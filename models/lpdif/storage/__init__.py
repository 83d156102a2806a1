"""Files of our own: workspaces, models, fields, locks, and atomic writes."""
