"""The kinds of steps, one file each: its model (what may be written) and its action (what is done)."""
