"""Hashes that other programs wrote, of two passwords each; what Django writes is made in the tests."""

from __future__ import annotations

ASCII = "correct horse"
UNICODE = "密码 пароль!"

MODERN = {
    "PHP, bcrypt": (
        "$2y$04$80u6KKVmFgxLg.TUBnkNf.MbgpAUYP9yReTAvcnFOs7EzkzVg3SaO",
        "$2y$04$mdngyUImypHHvKfjtC5PauGzr7JiFO9xDnO0F.pLSpR/yKyDXvNue",
    ),
    "PHP, old bcrypt": (
        "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2a$04$abcdefghijklmnopqrstuu3jqG41X0nlTONNrT2oZjeNXVxOgYRw2",
    ),
    "htpasswd -B": (
        "$2y$04$Hx8e0jErw5wiSEcQuIlOY.oJQrYIBPCaOqzO02PTCnP5e/VCqrkDe",
        "$2y$04$sBFbtzm9wjFgWfszZWkJRetS02vKMj2KQbwAyU/Ynry/nXA/VuaE6",
    ),
    "PHP, argon2id": (
        "$argon2id$v=19$m=1024,t=1,p=1$STFFeDQvQlJzRTVFQ2xkMQ$M+kAO7WEjSF+i1v3bzu35w/hPEn0Snft2mpQwA2y1YM",
        "$argon2id$v=19$m=1024,t=1,p=1$N3Jya0NuY20za29GLktHdQ$IrmhPxsMFUyk+ERQjd/+HPuxgPze40KH26LV20BkfdI",
    ),
    "PHP, argon2i": (
        "$argon2i$v=19$m=1024,t=1,p=1$VDllMG0uZ1ZlZWo1RXdFVA$MSAKXhxx4LTmrun0/2nTz2Q1wG4JZrNxpreZO3EzSk8",
        "$argon2i$v=19$m=1024,t=1,p=1$bWlTek1oUXlYdzhsNnNncA$RPHvfHEqbYPIHC9dZnHoYPAAiEIxcJShBWU+QAt7fPU",
    ),
    "passlib, scrypt": (
        "$scrypt$ln=4,r=8,p=1$ei/lnFNqzRlDCOG8N2bM+Q$4YA5Yik+YHcgzSiyagwpVX3uuQVuIL0uNxl2iSeDTZM",
        "$scrypt$ln=4,r=8,p=1$DsH4n7M2Rui919obYyzFeA$GesaKtuhipWb84vgaXhbICbe/v/uWAlhOhIAa4JjPUE",
    ),
}
OLD = {
    "openssl passwd -1": ("$1$4CD1MdeB$hFXTob723XY0swG03f43d0", "$1$ugI5FZ0K$KxYPognUs8t7xTvxRGSq7."),
    "openssl passwd -apr1": ("$apr1$Mo1nnCJ8$6r0U//E3LzCQsPTZFh8SP0", "$apr1$UoadMUxr$CDZKamhVWng/fE0jvUfCm0"),
    "openssl passwd -5": (
        "$5$Kdg1hQ.062Mi353D$DJjEDr.2qZB1A66vOjtj.iGKibSh14Pm3q8BWp1uQu0",
        "$5$eDRmcElmn3ufS3c/$517p8DGDPkJy7w9St2t5TAJVYSVJSUu1Wz68nXNT5mB",
    ),
    "openssl passwd -6": (
        "$6$O6vGkkalpCjPlghy$IK/qhcXocdyc4IAtcwvRtuaeEKV3KqPz8pZMyUhBbQTN0ZSW1szIzFwSYG3x8tiavhbMYAksmT2L1Am.BqMfd/",
        "$6$r9k6YbYTG6Ehr4l8$jjd9E3u3U4ZtgxgX5QBZFTRBuCHY1rMBO1OIG.sXWMwQh7szBeZRvrCzPzxARm7n/sXMurhGQyEAT2sdSIe0u0",
    ),
    "mkpasswd -m sha-512 -R 10000": (
        "$6$rounds=10000$cJxkRkQjSR2oMlmz$uIJcL8LiregZuVakByyLUrZSgTd7d8dNSPF4HNt3g9qtyGJN0bPM2pjmQfDkRZ0pbIUp/3VQNGlk4dA9gMWaV.",
        "$6$rounds=10000$o0dOeIHi70aoe9c.$NHF9FmQD00NjBtiek5oDSLekE06QYlF7iehTtyyZbV4BLuQOL0.CD2aDKSfYGXC4uspw9853rJrMzRCw08tE6/",
    ),
    "mkpasswd -m sha-256 -R 1000": (
        "$5$rounds=1000$VaS9Ie3K9Gw3NSkS$dJ6qHATfVxdUmzWMx729GJrPAzXnparfzMvJ3B14RW4",
        "$5$rounds=1000$fY50vrAXlBhmvXWu$nHJ6HdQmPVb8TbwCOpETsUINtksvj9F5RgzmPFWuu26",
    ),
    "htpasswd -m": ("$apr1$LEuQTBYY$/r26eZf5RypT3Q7xI85em0", "$apr1$Fihvhwca$tijaePso0YTDR9CypZzJd/"),
    "htpasswd -s": ("{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "{SHA}AtBf4tceU0eAtMk5+ovxWnpBoAk="),
    "PHP, salted SHA-1": (
        "{SSHA}awc/Cj0kafyFd5d8fGn07xoHBJJzYWx0c2FsdA==",
        "{SSHA}enFKbEJ+TsYDL/9ykpVz+Q77GalzYWx0c2FsdA==",
    ),
    "PHP, phpass as WordPress writes it": ("$P$BabcdefgH8lXzTuDC0.HJ2ay2ddT0x1", "$P$BabcdefgH8BXk3tb5WZy25CjpnqfT81"),
    "PHP, phpass as phpBB writes it": ("$H$9IQRaTwmf0qTNCWXZ7Qvjb0IHx820s.", "$H$9IQRaTwmfaWp/zZY/Iz8NH4Pu.O2iw1"),
}
WRITTEN = MODERN | OLD
"""Who wrote it: (of ASCII, of UNICODE)."""
