"""Runs ``llama`` with a longer health check timeout for uvicorn's workers; takes the arguments of ``llama``.

With several workers uvicorn pings each one, kills it if it does not respond within five seconds, and starts another.
A worker responds only after it has imported the server, which takes longer on a busy machine: uvicorn then kills every
starting worker, forever, and nothing listens. The platform has no setting for this timeout.
"""

import functools

HEALTH_CHECK_SECONDS = 600

if __name__ == "__main__":  # uvicorn's workers import this file too, and must not run llama
    import uvicorn
    from llama_stack.cli.llama import main

    uvicorn.run = functools.partial(uvicorn.run, timeout_worker_healthcheck=HEALTH_CHECK_SECONDS)
    main()
