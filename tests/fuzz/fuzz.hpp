#pragma once
// What the fuzz targets share. A target is a program with LLVMFuzzerTestOneInput; replay.cpp runs it on the
// files of its corpus. An exception that is none of tq's, a crash or a broken promise is a finding.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tq/core/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tq::fuzz {

/// Ends the program unless `ok`.
inline void require(bool ok, const char* promise) {
    if (ok) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// Runs `action`; what tq throws on bad input is what it should do.
template <class Action>
void survive(Action&& action) {
    try {
        action();
    } catch (const tq::invalid_option& error) {
        require(error.what()[0] != '\0', "an error says what is wrong");
    } catch (const tq::backend_error& error) {
        require(error.what()[0] != '\0', "an error says what is wrong");
    }
}

/// A file with these bytes, gone at the end.
class scratch_file {
public:
    scratch_file(const std::uint8_t* data, std::size_t size, std::string_view before = "")
        : path_{std::filesystem::temp_directory_path() / ("tq_fuzz_" + std::to_string(getpid()))} {
        std::ofstream file{path_, std::ios::binary | std::ios::trunc};
        file << before;
        file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    }
    ~scratch_file() { std::filesystem::remove(path_); }
    scratch_file(const scratch_file&) = delete;
    scratch_file& operator=(const scratch_file&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace tq::fuzz
