"""Makes the project importable as users' tools see it, without shadowing the host's modules."""

import sys
from pathlib import Path

# append, not insert: our folder `nodes` must not come before ComfyUI's module of that name
sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent))
