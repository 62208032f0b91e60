"""The only place that touches the host's internals (`comfy.*`, `folder_paths`)."""
