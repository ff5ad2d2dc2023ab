"""The dashboard's frame and its first screen: who looks, what is wrong and where it is mended, in every state."""

import os
import re

import pytest

from api_client import exposure
from desk import NARROW, violations
from harness import wait_until

PAGES = {
    "overview": ("#/overview", "Overview"),
    "exposures": ("#/exposures", "Exposures"),
    "an exposure": ("#/exposures/shop%2Fsvc%2Ffront.expose%230", "shop/svc/front.expose#0"),
    "an exposure that is refused": ("#/exposures/team%2Fsvc%2Fbroken.expose%230", "team/svc/broken.expose#0"),
    "the form of an exposure": ("#/exposures/shop%2Fsvc%2Fwww.expose%230?edit=1", "shop/svc/www.expose#0"),
    "nothing": ("#/nowhere", "Nothing is here"),
}
