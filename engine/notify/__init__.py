"""Messages to people: once when something breaks, once a day while it lasts, once when it works again.

with telling(project, report): ...      # around a run: how it ended
Lookout(lambda: project).look()         # from a long-running process: what is late, or died without a word
"""

from engine.notify.lookout import Lookout
from engine.notify.runs import telling

__all__ = ["Lookout", "telling"]
