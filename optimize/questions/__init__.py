"""Training sets: read, split without common groups, and watched for leakage."""
