"""`toprung init`: a starter sweep.yaml from what a training file reads and reports."""
