"""A self-signed certificate for localhost and its key, made for these tests alone and trusted by nobody else."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Made once with: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost
# -addext subjectAltName=DNS:localhost,IP:127.0.0.1
_PEM: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5ggLrtzG9Jvxglsv
O51geEk8mzhsqp3fEepNanH9GlehRANCAASjx6okkYUtAvvoBuOcTdbWcmCuHJFp
4+LAkenug/wfBYPchQ08yWJXbz1FJ+rnommb5UvmJj4UkTLuuPzp8bmq
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUXdVhARmBkT6bqf4cg2oxXsnUe80wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMDE4MTUwNVoYDzIxMjYxMDI3
MTgxNTA1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASjx6okkYUtAvvoBuOcTdbWcmCuHJFp4+LAkenug/wfBYPchQ08yWJX
bz1FJ+rnommb5UvmJj4UkTLuuPzp8bmqo28wbTAdBgNVHQ4EFgQU1q3TdZnNnC70
Tk4tTq/cnjopR7kwHwYDVR0jBBgwFoAU1q3TdZnNnC70Tk4tTq/cnjopR7kwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgV4y9LI5ZijaNK/kuZfzLpb07Co4Gk+cVtYJKBKAT1IgCIQC6
2b15m2uzS9rhyZNuO54SlC60D/Uf9ku+b05EwOgZCA==
-----END CERTIFICATE-----
"""


@contextmanager
def certificate() -> Generator[Path]:
    """A file with the key and the certificate, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "localhost.pem"
        path.write_text(_PEM, encoding="ascii")
        yield path
