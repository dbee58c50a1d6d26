"""``llama`` with a uvicorn that waits for its workers; run as a program, with the arguments of ``llama``.

With several workers uvicorn pings each one, kills it when no answer comes within five seconds, and starts another. A
worker answers only after it has imported the server, which takes longer than that on a busy machine: uvicorn then kills
every worker that is still starting, forever, and nothing listens. The platform has no setting for the time-out.
"""

import functools

HEALTH_CHECK_SECONDS = 600

if __name__ == "__main__":  # uvicorn's workers import this file too, and are no llama
    import uvicorn
    from llama_stack.cli.llama import main

    uvicorn.run = functools.partial(uvicorn.run, timeout_worker_healthcheck=HEALTH_CHECK_SECONDS)
    main()
