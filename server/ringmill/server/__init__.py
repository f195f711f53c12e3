"""The worker: owns partitions, runs pipelines, answers parts."""
