"""URLs as sources of files: `PublicUrls` fetches them, `addresses` says from where.

Apart from the network engine on purpose: that one speaks to providers, with credentials.
"""

from perdure.adapters.urls.addresses import parse_networks as parse_networks
from perdure.adapters.urls.reader import PublicUrls as PublicUrls
from perdure.adapters.urls.reader import Resolve as Resolve
from perdure.adapters.urls.reader import resolve_name as resolve_name
