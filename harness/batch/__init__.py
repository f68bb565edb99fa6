"""A backlog: many submissions, each judged in a process of its own, on one machine or on a Ray cluster."""
