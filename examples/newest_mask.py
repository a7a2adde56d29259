"""A control loop that asks for the newest mask ten times a second, and gets none rather than an old one.

python examples/newest_mask.py BUNDLE [SOURCE] [SECONDS]
"""

import sys
import threading
import time

from danet_runtime import Segmenter, Stream


def main(bundle: str, source: str = "synthetic:?size=360x640&fps=30", seconds: str = "3") -> None:
    """Say at each beat how old the newest mask is, and how much of it is road."""
    with Segmenter(bundle) as segmenter, Stream(segmenter, source) as stream:
        running = threading.Thread(target=stream.run)  # the stream's own pace; `latest` looks at it from here
        running.start()
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            result = stream.latest(max_age_ms=500)
            if result is None:
                print(f"no mask that is new enough; the stream is {stream.health.state}")
            else:
                road = result.areas().get("road", 0)
                print(f"frame {result.frame_id}, {result.age_ms:.0f} ms old, {100 * road:.0f} % road")
            time.sleep(0.1)
        stream.stop()
        running.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
