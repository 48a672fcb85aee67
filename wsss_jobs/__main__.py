"""`python -m wsss_jobs` is `wsss`."""

from wsss_jobs.cli import main

if __name__ == "__main__":
    main()
