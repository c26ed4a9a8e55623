#include "support/catch.hpp"
#include "support/message.hpp"

#include <cmath>
#include <cstring>

#include "shared_model.hpp"

using namespace tq::test;

namespace {

/// A file of this header (padded to `claimed` if that is larger) and data.
std::string file_of(const std::string& header, const std::string& data, std::uint64_t claimed = 0) {
    const std::uint64_t size = claimed != 0 ? claimed : header.size();
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(size >> (8 * i));
    return bytes + header + data;
}

std::string floats(std::size_t count, float value = 0.5F) {
    std::string bytes(4 * count, '\0');
    for (std::size_t i = 0; i < count; ++i) std::memcpy(bytes.data() + 4 * i, &value, 4);
    return bytes;
}

std::string weight(std::size_t hidden, const std::string& type = "F32", std::size_t width = 4) {
    return R"("score.weight":{"dtype":")" + type + R"(","shape":[1,)" + std::to_string(hidden) +
           R"(],"data_offsets":[0,)" + std::to_string(width * hidden) + "]}";
}

/// What reward_head says about a file of this content.
std::string fault(const std::string& content) {
    const scratch_file file{content};
    const std::string message = message_of<tq::invalid_option>([&] {
        tq::llama_cpp::reward_head{shared_model(), file.path(), {.context = 256}};
    });
    if (message != "nothing was thrown") REQUIRE(contains(message, file.path()));
    return message;
}

}  // namespace

TEST_CASE("half precision is exact") {
    using tq::llama_cpp::detail::half_to_float;
    REQUIRE(half_to_float(0x3C00) == 1.0F);
    REQUIRE(half_to_float(0xC000) == -2.0F);
    REQUIRE(half_to_float(0x0001) == std::ldexp(1.0F, -24));
    REQUIRE(half_to_float(0x7BFF) == 65504.0F);
    REQUIRE(std::isinf(half_to_float(0x7C00)));
    REQUIRE(std::isnan(half_to_float(0x7C01)));
}

TEST_CASE("heads of every float type are read") {
    REQUIRE(fault(file_of("{" + weight(576) + "}", floats(576))) == "nothing was thrown");
    for (const char* type : {"F16", "BF16"})
        REQUIRE(fault(file_of("{" + weight(576, type, 2) + "}", std::string(1152, '\x3C'))) ==
                "nothing was thrown");
}

TEST_CASE("a head without a squash states no range") {
    const scratch_file file{file_of("{" + weight(576) + "}", floats(576))};
    const tq::llama_cpp::reward_head judge{shared_model(), file.path(), {.context = 256}};
    REQUIRE(std::isinf(judge.range().hi));
}

TEST_CASE("faulty files are refused with the reason") {
    const std::string good = "{" + weight(576) + "}";
    REQUIRE(contains(fault("short"), "too short"));
    REQUIRE(contains(fault(file_of(good, "", 1ULL << 60)), "header would have"));
    REQUIRE(contains(fault(file_of(good, "", 101'000'000)), "header would have"));
    REQUIRE(contains(fault(file_of("{oops", "")), "not a JSON object"));
    REQUIRE(contains(fault(file_of("[1]", "")), "not a JSON object"));
    REQUIRE(contains(fault(file_of(good, floats(100))), "truncated"));
    REQUIRE(contains(fault(file_of(good, floats(577))), "belongs to no tensor"));
    REQUIRE(
        contains(fault(file_of("{" + weight(576, "F16", 4) + "}", floats(576))), "shape and type"));
    REQUIRE(contains(fault(file_of("{" + weight(576, "I32", 4) + "}", floats(576))), "type I32"));
    REQUIRE(contains(fault(file_of("{" + weight(64) + "}", floats(64))), "must be [1, 576]"));
    REQUIRE(contains(fault(file_of("{}", "")), "has no tensor score.weight"));
    REQUIRE(contains(fault(file_of(good, floats(576, NAN))), "infinite or no number"));
    REQUIRE(contains(fault(file_of(good, floats(576, INFINITY))), "infinite or no number"));
}

TEST_CASE("faulty header entries are refused with the reason") {
    const auto entry = [](const std::string& text) {
        return fault(file_of(R"({"score.weight":)" + text + "}", floats(4)));
    };
    REQUIRE(contains(entry("3"), "not an object"));
    REQUIRE(contains(entry("{}"), "no dtype"));
    const std::string nested = std::string(1'000'000, '[') + std::string(1'000'000, ']');
    REQUIRE(contains(entry(R"({"dtype":)" + nested + "}"), "no dtype"));
    REQUIRE(contains(entry(R"({"dtype":"F32","shape":[4]})"), "no list data_offsets"));
    REQUIRE(contains(entry(R"({"dtype":"F32","shape":[-4],"data_offsets":[0,16]})"), "no count"));
    REQUIRE(contains(entry(R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})"), "outside"));
    REQUIRE(contains(
        entry(R"({"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,16]})"),
        "shape and type"));
    REQUIRE(contains(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[4,16]})"), "holes"));
}

TEST_CASE("metadata that is not understood is refused, not ignored") {
    const auto meta = [](const std::string& text) {
        return fault(file_of(R"({"__metadata__":)" + text + "," + weight(576) + "}", floats(576)));
    };
    REQUIRE(meta(R"({"pooling":"last","squash":"sigmoid"})") == "nothing was thrown");
    REQUIRE(contains(meta(R"({"pooling":"mean"})"), "pooling = mean, must be last"));
    REQUIRE(contains(meta(R"({"squash":"tanh"})"), "squash = tanh, must be sigmoid or none"));
    REQUIRE(contains(meta(R"({"squash":1})"), "metadata squash is not a string"));
    REQUIRE(contains(
        fault(file_of(R"({"score.bias":{"dtype":"F32","shape":[2],"data_offsets":[2304,2312]},)" +
                          weight(576) + "}",
                      floats(578))),
        "score.bias has shape [2]"));
    REQUIRE(contains(message_of<tq::invalid_option>(
                         [] { tq::llama_cpp::safetensors_file{"/nowhere/head.safetensors"}; }),
                     "/nowhere/head.safetensors: cannot be read"));
}
