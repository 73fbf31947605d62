// Lua 5.4, from liblua5.4-dev. Half of its interface is macros, which Swift does not import.
#ifndef VBENCH_LUA_LIBRARY_H
#define VBENCH_LUA_LIBRARY_H
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>

static inline int vb_lua_load(lua_State *L, const char *path) { return luaL_loadfile(L, path); }
static inline int vb_lua_call(lua_State *L, int arguments, int results) { return lua_pcall(L, arguments, results, 0); }
static inline void vb_lua_pop(lua_State *L, int count) { lua_pop(L, count); }
static inline const char *vb_lua_text(lua_State *L, int index) { return lua_tostring(L, index); }
#endif
