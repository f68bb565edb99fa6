"""What a submission runs with: every setting that its source reads, and who says what it was."""
