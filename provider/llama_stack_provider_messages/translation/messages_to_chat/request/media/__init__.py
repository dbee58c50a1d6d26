"""Images and documents of a request: which media must be loaded, and the parts they are translated to."""
