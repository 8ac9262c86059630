"""Webhooks in: what providers announce by themselves, verified and turned into a look at the batch it is about.

`signatures` judges who sent it (pure), `announcements` reads what it says (pure), `receiver` does something about it.
A webhook is a hint: polling remains the truth, and what is forged, repeated, unknown or lost changes nothing.
"""

from perdure.adapters.webhooks.receiver import WebhookOutcome as WebhookOutcome
from perdure.adapters.webhooks.receiver import Webhooks as Webhooks
