"""The stages. `wsss_jobs.stages.registry` knows them by name."""
