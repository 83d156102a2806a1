"""Files of our own: workspaces, models, fields; locks, and writes that leave the old file or the new one."""
