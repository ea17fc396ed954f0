"""Start them all and print the settings of a product on them; Ctrl-C ends them, and nothing of them is left."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.servers.guarded import ServerMissing
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3


def main() -> int:
    """Hold the servers until told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with LocalSupabase() as project, LocalS3() as store:
            for name, value in (project.environment | store.environment(store.make_bucket())).items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
            print("# Ctrl-C ends them.", flush=True)
            signal.pause()
    except ServerMissing as error:
        print(f"{error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
