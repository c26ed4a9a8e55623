// The macros that Qt, Windows and Apple define in their headers must not break those of tq. What tq
// includes of others comes first: it is not ours to protect.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>
//
#include <Eigen/Core>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif
#if __has_include(<curl/curl.h>)
#include <curl/curl.h>
#endif
#if __has_include(<llama.h>)
#include <llama.h>
#endif

// Qt
#define slots
#define signals public
#define emit
#define foreach(variable, container) static_assert(false)
#define forever for (;;)
// Windows
#define interface struct
#define small char
#define near
#define far
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
// Apple's AssertMacros.h
#define check(condition) static_assert(false)
#define verify(condition) static_assert(false)
#define require(condition, label) static_assert(false)

#include "every_header.hpp"
