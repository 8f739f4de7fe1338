"""One file for each step; the schema's version is the last one that ran."""
