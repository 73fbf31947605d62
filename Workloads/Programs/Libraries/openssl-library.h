// OpenSSL's libcrypto, from libssl-dev.
#ifndef VBENCH_OPENSSL_LIBRARY_H
#define VBENCH_OPENSSL_LIBRARY_H
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

// Keys made for this benchmark, so that every run signs and agrees the same: they protect nothing.
#define VB_RSA_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQCZ9jlq9PFJFE05\n" \
    "esWETEcsVV9BnQm5p1x/7w98MtLHjbfcLK6v7B2GqOaGEchdsgFc9FeacMTKmDcq\n" \
    "LOe7ZIgHw0MGKDwvFYf09UleYCs5bexHyRW23Wxkv/nasOLciDkVbCJ6dTe5y6J1\n" \
    "YcfsAFKoKqYklW9Sm6zkQoHzV6/WYKs/ZSILFsJPuvdxUCi3aM4Y/kIqMntPCtPF\n" \
    "3NsRTSaNCWynYCBOcTgIftT0kNPdDTCqEdIghONgHGlG7qQiSihNPr7YTac8fUS4\n" \
    "xx4M9oS46ybsa9pjc3ZajdGysxsGvajWDk5ugNkjFwv9ZS1q2vO0In3elr0RbH1z\n" \
    "bhhhXPN3AgMBAAECggEATHcam0Fd2MLJe+O613Me4ijgb3D0FI3Hhg6QLUn8n3mG\n" \
    "OEbE18C4BVo7a5jHX6l5vdXo8F5Tjp88vqigytQqL1jOH++5vFTAOmvcbY/rx9EN\n" \
    "SbXYIAMmw38JM5Eoiwjo+PfEw/cVnyRA4nWW2mJqqvTLoV3KdUe1/YP+kIIbZafF\n" \
    "k/tl3Anm08M1/91iW/GjH3sM40zK7DTHP//YSjx3nLXFJR/B9zif41pUTrEofUEe\n" \
    "Gb01aNx/B3vtpl8G9IlXe0PwSRY7DfIULPnCOYNCep1QIzT4a1F9+iJuiRxLCbEX\n" \
    "MDbGexE8Dr4rs/hwBf2R5KiOCxjTPZBIUFiPfkisYQKBgQDVBmSv2AooaoEAfv6S\n" \
    "g/LRDdDcgox9s236GTA1pern9WtfyPkFCymGEvc0xWTo9skqEA3FpfOAxRR1j2AT\n" \
    "ViXGB0M8tnoRGoSebRGfx9RoZjXVxBNiiVCN7hcVL/vobBgPPKDdXQfgLGloW+V6\n" \
    "MtMvtbU70Z0EB65LzWLxjD0S0QKBgQC5BYhvLwQtwN+w+HFMAd0jZI34JZYZ+icz\n" \
    "eMGgvTa8dJtimUsPGIFUWWoWU0K7kndv2mGOKlBDZ7AxTFG8EQut+Ee5bmOMKI2k\n" \
    "+VaxrIoQMjYiDLT22tpPn8e3uXEsgDwnbXpRtiNGFq3vPpYvtCj1A9ego4GIuk8+\n" \
    "EAa7l/TjxwKBgQC9sKG8C86PyrbwsCUUZraz/W98zCs6S6qkyAUr4IDa6KkidB16\n" \
    "pkPlhcHnldaTtB3RfNYmp+27PsNHI9LTpSShwBnZWEw+KrTpNgo5k4HLLSjHH4B7\n" \
    "f/bhS5/2V/IjNw39k2lTdOHsdt+t9BbVx6hSlaW6jJ8a1ZQZH9z5Zn2D4QKBgQCw\n" \
    "vFJJMnYhZl3G5GsFGbqtNj5OzUiGY+fSSQVcj6Gbfx92ncuPDe9sLUUjMkFKf2xL\n" \
    "kiUh8dVdrcwmKyrgJMAtXD7XKFU66vnynqJrcc8oDW6cM9sg+okTCiNyolczFQNg\n" \
    "/jibmQo0xzE6mWRJCSUedp8guU7g1mcfd5uW0l6AvQKBgQCLrOdG4gaHKEzY1O3y\n" \
    "RcB/QBvj8hCYr83rGFZAZOig+kg9/iCRikTJVrvIi8n5E2KbKJJVgj6kde2+v+1Z\n" \
    "fRMDjoEJqLtOJrPRVLrZXsprPxGUVTRgjwxyI/8kILvKdkFe1UI2Raq6UgMY+SJJ\n" \
    "vveY3eDfmIccvVfQj8ArjdM5Nw==\n" \
    "-----END PRIVATE KEY-----\n"

#define VB_P256_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHDYtxSV2uxpYEBm/\n" \
    "HuisbmAxTuxgigZ3qcNbguLOHX6hRANCAAQJHrAKMNuVTaJCgdTvVsCDVBgv9cy2\n" \
    "/MvG+KYKDrj8b/5yf/0pA9ktsF5ikXdXZzQ/zJmT9jOOt1CDDUlXycL6\n" \
    "-----END PRIVATE KEY-----\n"

#define VB_P256_OTHER_KEY \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQE9e8XVtDwjn5geJ\n" \
    "LMZlWmL+unv7a1TCVSCM/Kz3HmyhRANCAARb4Eqd7jGbd1o8K4S5sl4RU9b1QRCk\n" \
    "IFVOCUABzAGN79ncDGjNjm0Z7uGhJBSy102YDHQ0DURAaPUwsm2OFKfd\n" \
    "-----END PRIVATE KEY-----\n"

static inline EVP_PKEY *vb_key(const char *text) {
    BIO *memory = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = memory ? PEM_read_bio_PrivateKey(memory, NULL, NULL, NULL) : NULL;
    BIO_free(memory);
    return key;
}

static inline EVP_PKEY *vb_rsa_key(void) { return vb_key(VB_RSA_KEY); }
static inline EVP_PKEY *vb_p256_key(void) { return vb_key(VB_P256_KEY); }
static inline EVP_PKEY *vb_p256_other_key(void) { return vb_key(VB_P256_OTHER_KEY); }
#endif
