"""One deployable folder: `main.py` is its map."""
