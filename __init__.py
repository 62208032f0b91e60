"""ComfyUI pack: paint the object of an exemplar picture into the masked area of an image."""

WEB_DIRECTORY = "./web"


def comfy_entrypoint():  # noqa: ANN201  (the host's type is unknown outside of a host)
    """Entry point of the host's V3 loader."""
    # Imported here, not above: tests and tools import this package where there is no host.
    from .nodes.extension import ExemplarExtension

    return ExemplarExtension()
