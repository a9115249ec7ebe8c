"""Who somebody is: sources of users and password hashes. Second factors and OpenID Connect will live here too."""
