"""What a submission ships as text, read and never run: scripts unwrapped and parsed, submission.json decoded."""
