"""An RTSP server on loopback that takes a stream: ``python3 rtsp_recorder.py PORT``. Ends with its parent.

Says ``ready``, and then the size of the first picture that was sent to it. Run by the system's Python, which
has GStreamer's bindings (python3-gi, gir1.2-gst-rtsp-server-1.0).
"""

import os
import sys
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def on_media(_factory: object, media: Any) -> None:
    sink = media.get_element().get_by_name_recurse_up("taken")

    def on_picture(_pad: object, info: Any, *_: object) -> object:
        print("picture", info.get_buffer().get_size(), flush=True)
        return Gst.PadProbeReturn.REMOVE

    sink.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_picture)


def main(port: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(
        "( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=BGR "
        "! fakesink name=taken sync=false )"
    )
    factory.connect("media-configure", on_media)
    server.get_mount_points().add_factory("/street", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    parent = os.getppid()

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
