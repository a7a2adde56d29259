"""GStreamer in a child process: pipelines, their pictures and what is known of their wholeness."""
