"""The records: found, read with care, listed, shown, compared, removed. No torch, and no numpy where none is needed."""
