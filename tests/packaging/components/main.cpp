#include <tq/tq.hpp>

#include <cstdio>

#ifdef WITH_json
#include <tq/ext/json/json.hpp>
#endif
#ifdef WITH_http
#include <tq/adapters/http/http.hpp>
#endif
#ifdef WITH_llama_cpp
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#endif

int main() {
    int used = 0;
#ifdef WITH_json
    used += nlohmann::json(tq::decode_options{}).contains("alpha");
#endif
#ifdef WITH_http
    try {
        tq::http::client{{.urls = {"nowhere"}}};
    } catch (const tq::invalid_option&) {
        ++used;
    }
#endif
#ifdef WITH_llama_cpp
    try {
        tq::llama_cpp::model_file{"no such file"};
    } catch (const std::exception&) {
        ++used;
    }
#endif
    std::printf("tq %s, %d components\n", TQSTAR_VERSION_STRING, used);
    return used == COUNT ? 0 : 1;
}
