"""What a run left behind, and what it says: its passes, the one that counts, what was trained on and when."""
