"""The tools of a request: which there are at the end of the conversation, and the functions they become."""
