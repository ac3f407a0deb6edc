// libcrypto of OpenSSL 3: digests, ciphers, derivation of keys, random numbers, comparison in constant time.
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
