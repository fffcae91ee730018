"""CNI plugins (spec 0.1.0 to 1.1.0) as small cold-start programs: each decides in `desired.py` and acts in `plugin.py`."""
