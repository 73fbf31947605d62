// libmd: message digests (Debian package libmd-dev).
#include <sha2.h>
