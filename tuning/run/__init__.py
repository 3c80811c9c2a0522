"""Running a sweep with Ray Tune: the only modules of `toprung.tuning` that import Ray."""
