"""A local Google Cloud: what the functions need of it, on one machine."""
