"""The Dockerfile and the compose file, read as Docker reads them, so that tests can hold them against the code."""
