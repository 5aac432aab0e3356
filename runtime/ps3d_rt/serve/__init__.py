"""The operator's page: what runs, what waits, what is done, in a browser.

view.py    what the page shows, as JSON
guard.py   who may ask, and how: host, token, CSRF, sizes, headers
app.py     the routes
run.py     the server
"""
