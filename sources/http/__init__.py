"""HTTP for every source that asks an API: limits, retries, bounds, and a guard on where a request may go.

`client.HttpClient` asks; `client.session` hands a library the same behaviour as a requests.Session.
"""
