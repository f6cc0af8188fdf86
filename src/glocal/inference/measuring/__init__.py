"""Biometry of files: which frames are measured, the interval of a network's AoP, tables, pictures and curves."""
