"""The HTTP service and its web page: `khmer-fast serve`.

A server process (FastAPI; it never decodes a file nor loads torch) keeps jobs in SQLite and hands
pages to worker processes, each of which holds a reader.
"""
