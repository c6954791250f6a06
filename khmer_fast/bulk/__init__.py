"""Many files: sources > tasks of a few pages > records, by processes of this machine or by Ray.

`read_pages` is the one function that is mapped; `local` and `ray_data` map it; what is in the
results already is never read again.
"""
