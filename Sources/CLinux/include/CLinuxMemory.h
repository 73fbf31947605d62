// Sealed memory files: guest RAM.
#pragma once

/// A new memfd of `bytes` bytes whose size can no longer change, close-on-exec; or -1 with errno set.
int clinux_sealed_memfd(const char *name, unsigned long bytes);
