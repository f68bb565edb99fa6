"""Views of a record. Every view reads the record and nothing else."""
