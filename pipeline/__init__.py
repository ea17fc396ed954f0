"""The media library of Mini Video Factory: files and numbers in, files and numbers out.

It knows no user, job, bucket or web request. `pipeline.run.run_pipeline` is the whole way; ``python -m pipeline``
is the same from a shell.
"""
