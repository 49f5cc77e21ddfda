"""``wanmi`` with a cache of tiles that keeps nothing, for doors.py: every tile is drawn when it is asked for.

Workers of ``serve`` import the file that began them, so that this holds in each of them too.
"""

from __future__ import annotations

from api import deps

deps.TILES_BYTES = 0

if __name__ == "__main__":
    from api.cli import main

    main()
