"""A camera for tests: GStreamer's RTSP server. Run by Debian's Python; prints the port, or what is missing."""

from __future__ import annotations

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    raise SystemExit(print(error)) from None

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=128,height=96,framerate=10/1"
    " ! x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96"
    " audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)

Gst.init(None)
missing = [name for name in ("videotestsrc", "x264enc", "rtph264pay", "alawenc") if not Gst.ElementFactory.find(name)]
if missing:
    raise SystemExit(print(*missing))
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(LAUNCH)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
