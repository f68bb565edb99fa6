"""What runs in the box beside an unmodified script: stand-ins for what a CPU lacks, and the recorder."""
