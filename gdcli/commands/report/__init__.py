"""A record as one page to look at and step through, offline: `gdcli report`."""
