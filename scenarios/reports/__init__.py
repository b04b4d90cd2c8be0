"""Reports of a run, one format per file: text for people, JSON and JUnit for machines."""
