#pragma once
// The version, stated once: the build system reads these three lines.
#define TQSTAR_VERSION_MAJOR 0
#define TQSTAR_VERSION_MINOR 1
#define TQSTAR_VERSION_PATCH 0

#define TQSTAR_DETAIL_STRING_(x) #x
#define TQSTAR_DETAIL_STRING(x) TQSTAR_DETAIL_STRING_(x)
#define TQSTAR_VERSION_STRING                                                                     \
    TQSTAR_DETAIL_STRING(TQSTAR_VERSION_MAJOR)                                                    \
    "." TQSTAR_DETAIL_STRING(TQSTAR_VERSION_MINOR) "." TQSTAR_DETAIL_STRING(TQSTAR_VERSION_PATCH)
