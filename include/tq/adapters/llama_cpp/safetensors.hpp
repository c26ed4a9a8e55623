#pragma once
// safetensors_file: reads small float tensors from a .safetensors file, and believes nothing in it.
//
// Format: 8 bytes header size (little endian), a JSON header, then the data. The header maps names
// to {dtype, shape, data_offsets} and "__metadata__" to strings.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "float_formats.hpp"

namespace tq::llama_cpp {

/// A tensor, whatever type it has in the file.
struct float_tensor {
    std::vector<std::size_t> shape;  ///< its dimensions
    std::vector<float> values;       ///< row-major
};

/// Every member throws invalid_option, naming the file and the fault.
class safetensors_file {
public:
    /// Reads the header. Throws invalid_option for a file that is faulty.
    explicit safetensors_file(std::string path)
        : path_{std::move(path)},
          file_{path_, std::ios::binary} {
        if (!file_) fail("cannot be read");
        file_.seekg(0, std::ios::end);
        const std::streamoff end = file_.tellg();
        if (end < 0) fail("cannot be read");
        const auto file_size = static_cast<std::uint64_t>(end);
        if (file_size < 8) fail("is too short for a safetensors file");
        const std::uint64_t header_size = detail::little_endian(read(0, 8).data(), 8);
        if (header_size > (std::min)(file_size - 8, longest_header)) {
            const std::string other = other_format((std::min)(file_size, std::uint64_t{32}));
            fail(!other.empty() ? other
                                : "its header would have " + std::to_string(header_size) +
                                      " bytes, must be at most the rest of the file and 100 MB");
        }
        data_ = 8 + header_size;
        data_size_ = file_size - data_;
        parse(read(8, static_cast<std::size_t>(header_size)));
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// True if there is a tensor of that name.
    [[nodiscard]] bool has(const std::string& name) const { return entries_.contains(name); }

    /// A string of "__metadata__", or `otherwise` if it is not there.
    [[nodiscard]] std::string metadata(const std::string& key,
                                       const std::string& otherwise = "") const {
        const auto found = metadata_.find(key);
        return found == metadata_.end() ? otherwise : found->second;
    }

    /// The names of all tensors.
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& [name, e] : entries_) names.push_back(name);
        return names;
    }

    /// A tensor of type F64, F32, F16 or BF16 whose values are all finite.
    [[nodiscard]] float_tensor tensor(const std::string& name) {
        const auto found = entries_.find(name);
        if (found == entries_.end()) fail("has no tensor " + name);
        const entry& e = found->second;
        const std::size_t width = detail::float_width(e.dtype);
        if (width == 0) fail(name + " has type " + e.dtype + ", must be F64, F32, F16 or BF16");
        const std::string bytes = read(data_ + e.begin, static_cast<std::size_t>(e.end - e.begin));
        float_tensor tensor{e.shape, std::vector<float>(bytes.size() / width)};
        for (std::size_t i = 0; i < tensor.values.size(); ++i) {
            tensor.values[i] = detail::float_value(bytes.data() + i * width, e.dtype);
            if (!std::isfinite(tensor.values[i]))
                fail(name + " has a value that is infinite or no number, at " + std::to_string(i));
        }
        return tensor;
    }

    /// Throws invalid_option that names the file.
    [[noreturn]] void fail(const std::string& fault) const {
        throw invalid_option{"safetensors: " + path_ + ": " + fault};
    }

private:
    static constexpr std::uint64_t longest_header = 100'000'000;  // as in the reference reader

    struct entry {
        std::string dtype;
        std::vector<std::size_t> shape;
        std::uint64_t begin = 0, end = 0;  // within the data
    };

    /// What the file is instead, by its first bytes, or "".
    [[nodiscard]] std::string other_format(std::uint64_t size) {
        constexpr std::array<std::array<std::string_view, 2>, 6> known{{
            {"GGUF", "is a GGUF file; heads come as safetensors"},
            {"version https://git-lfs", "is a Git LFS pointer, not the file (git lfs pull)"},
            {"PK\x03\x04", "is a PyTorch archive; heads come as safetensors"},
            {"\x80", "is a Python pickle; heads come as safetensors"},
            {"{", "is JSON, no safetensors file"},
            {"<", "is a web page, not the file"},
        }};
        const std::string bytes = read(0, static_cast<std::size_t>(size));
        for (const auto& [begin, what] : known)
            if (bytes.starts_with(begin)) return std::string{what};
        return "";
    }

    [[nodiscard]] std::string read(std::uint64_t at, std::size_t size) {
        std::string bytes(size, '\0');
        file_.seekg(static_cast<std::streamoff>(at));
        file_.read(bytes.data(), static_cast<std::streamsize>(size));
        if (!file_) fail("ends before its data does");
        return bytes;
    }

    void parse(const std::string& header) {
        const nlohmann::json json = nlohmann::json::parse(header, nullptr, false);
        if (!json.is_object()) fail("its header is not a JSON object");
        for (const auto& [name, value] : json.items()) {
            if (!value.is_object()) fail("header entry " + name + " is not an object");
            if (name == "__metadata__")
                parse_metadata(value);
            else
                entries_[name] = parse_entry(name, value);
        }
        check_layout();
    }

    void parse_metadata(const nlohmann::json& json) {
        for (const auto& [key, value] : json.items()) {
            if (!value.is_string()) fail("metadata " + key + " is not a string");
            metadata_[key] = value.get<std::string>();
        }
    }

    [[nodiscard]] entry parse_entry(const std::string& name, const nlohmann::json& json) const {
        const auto type = json.find("dtype");
        if (type == json.end() || !type->is_string()) fail(name + " has no dtype");
        const std::vector<std::uint64_t> shape = numbers(name, json, "shape");
        const std::vector<std::uint64_t> offsets = numbers(name, json, "data_offsets");
        if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_size_)
            fail(name + " has data_offsets outside the data of " + std::to_string(data_size_) +
                 " bytes (a truncated file?)");
        entry e{type->get<std::string>(), {shape.begin(), shape.end()}, offsets[0], offsets[1]};
        const std::size_t width = detail::float_width(e.dtype);
        if (width != 0 && bytes_of(shape, width) != e.end - e.begin)
            fail(name + " has " + std::to_string(e.end - e.begin) +
                 " bytes of data, not what its shape and type need");
        return e;
    }

    /// Size of the data, or a number that no data has if it does not fit.
    static std::uint64_t bytes_of(const std::vector<std::uint64_t>& shape, std::uint64_t width) {
        constexpr std::uint64_t most = std::uint64_t{1} << 62;
        std::uint64_t bytes = width;
        for (const std::uint64_t side : shape) {
            if (side != 0 && bytes > most / side) return most;
            bytes *= side;
        }
        return bytes;
    }

    [[nodiscard]] std::vector<std::uint64_t> numbers(const std::string& name,
                                                     const nlohmann::json& json,
                                                     const char* field) const {
        const auto list = json.find(field);
        if (list == json.end() || !list->is_array()) fail(name + " has no list " + field);
        std::vector<std::uint64_t> values;
        for (const nlohmann::json& value : *list) {
            if (!value.is_number_unsigned()) fail(name + " has a " + field + " that is no count");
            values.push_back(value.get<std::uint64_t>());
        }
        return values;
    }

    /// The format wants the tensors to fill the data without holes or overlaps.
    void check_layout() const {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
        for (const auto& [name, e] : entries_) ranges.emplace_back(e.begin, e.end);
        std::sort(ranges.begin(), ranges.end());
        std::uint64_t at = 0;
        for (const auto& [begin, end] : ranges) {
            if (begin != at) fail("its tensors overlap or leave holes");
            at = end;
        }
        if (at != data_size_) fail("has data that belongs to no tensor");
    }

    std::string path_;
    std::ifstream file_;
    std::uint64_t data_ = 0, data_size_ = 0;  // where the data begins, and its size
    std::map<std::string, entry> entries_;
    std::map<std::string, std::string> metadata_;
};

}  // namespace tq::llama_cpp
