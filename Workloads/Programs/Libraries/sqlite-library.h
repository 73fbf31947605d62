// SQLite, from libsqlite3-dev.
#ifndef VBENCH_SQLITE_LIBRARY_H
#define VBENCH_SQLITE_LIBRARY_H
#include <sqlite3.h>
#endif
