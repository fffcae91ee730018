"""The thin part: each driver carries out a plan in the world and reports what failed. No policy lives here."""
