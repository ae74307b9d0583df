"""What is shown and written of a run: texts, tables, pictures. Knows records and errors only."""
