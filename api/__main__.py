"""``python -m api``: the command line, also while it is still being imported."""

import sys

if __name__ == "__main__":  # worker processes import this module by another name
    try:
        from api.cli import main

        main()
    except KeyboardInterrupt:
        print("wanmi: interrupted; nothing is half done (已中断,没有留下未完成的内容)", file=sys.stderr)
        sys.exit(130)
