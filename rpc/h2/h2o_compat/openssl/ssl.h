/* Stand-in for the OpenSSL header that h2o.h includes. libh2o's codec calls nothing of
 * OpenSSL, and in the structs that it shows there are only pointers to OpenSSL's, so nobody
 * needs the real one. With a version as new as this libh2o defines no replacements of its own. */
#pragma once

#define OPENSSL_VERSION_NUMBER 0x10101000L

typedef void SSL_CTX;
