"""The only place that touches internals of the host, ComfyUI (`comfy.*`, `folder_paths`)."""
