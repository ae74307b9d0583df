"""`gdcli report`: a record as one page that opens without a network."""
