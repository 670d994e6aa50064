"""Pages for people: one HTML file each that loads nothing else."""
