"""Images and documents of a request: what has to be fetched or read for them, and the parts they become."""
