"""The browser app: one page, a canvas and a timeline over a `vidmem` session. `python -m app`, or `vidmem app`.

`limits` has its settings, `decode` reads an upload in a process of its own, `project` is what one visitor works on, `visits` keeps the
visitors apart, `server` has the routes, `page` the Gradio page, `static/` what runs in the browser.
"""
