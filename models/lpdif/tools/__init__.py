"""What the stages do without: figures of quality, pictures, a scan made by code."""
