"""The charts of the page, one a file: plain SVG, drawn here, nothing to run in the browser."""
