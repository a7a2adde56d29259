"""``python -m danet_runtime`` is ``danet``."""

from danet_runtime.cli.entry import main

if __name__ == "__main__":
    main()
