// Any bytes as what a server answers: whole responses to the transport, or bodies.
#include <mutex>
#include <thread>
#include <vector>

#include "fuzz.hpp"
#include "support/loopback_listener.hpp"
#include "tq/adapters/http/http.hpp"

namespace {

/// Answers every connection with the present bytes and closes it.
class byte_server {
public:
    byte_server() {
        std::thread{[this] { serve(); }}.detach();
    }
    void answer(std::string bytes) {
        const std::lock_guard lock{mutex_};
        bytes_ = std::move(bytes);
    }
    [[nodiscard]] const std::string& url() const { return listener_.url(); }

private:
    [[noreturn]] void serve() {
        for (;;) {
            const int connection = listener_.accept();
            (void)tq::test::read_request(connection);
            {
                const std::lock_guard lock{mutex_};
                (void)::send(connection, bytes_.data(), bytes_.size(), MSG_NOSIGNAL);
            }
            // Closed at once, without a port that waits.
            const linger now{1, 0};
            ::shutdown(connection, SHUT_WR);
            char rest;
            (void)::recv(connection, &rest, 1, 0);
            ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            ::close(connection);
        }
    }

    tq::test::loopback_listener listener_;
    std::mutex mutex_;
    std::string bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace tq::http;
    static byte_server& server = *new byte_server;
    if (size < 1) return 0;
    const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
    const bool raw = (data[0] & 0x80) != 0;
    server.answer(raw ? body
                      : "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                            "\r\nConnection: close\r\n\r\n" + body);
    const server_options patience{.urls = {server.url()},
                                  .response_timeout = std::chrono::milliseconds{2000},
                                  .retries = data[0] >> 6 & 1U,
                                  .backoff = std::chrono::milliseconds{0},
                                  .max_response = 1 << 20};
    const text_codec letters{
        .decode = [](tq::token_view tokens) { return std::string(tokens.size(), 'a'); },
        .encode = [](std::string_view text) { return tq::token_list(text.begin(), text.end()); }};
    const tq::token_list prompt{1, 2};
    tq::fuzz::survive([&] {
        if (const int what = data[0] % 9; what < 3) {
            const auto speaks = static_cast<dialect>(what);
            completion_server model{
                patience,
                {.speaks = speaks, .text = speaks == dialect::openai ? letters : text_codec{}}};
            const tq::rollout_request request{
                .sequence = prompt, .max_tokens = 4, .end_tokens = prompt, .log_probability = true};
            const std::vector<tq::rollout_request> requests(1 + (data[0] >> 5 & 1U), request);
            for (const auto& rollout : model.complete(requests, {.temperature = 1})) {
                tq::fuzz::require(rollout.start == 2 && rollout.tokens().size() <= 4,
                                  "no more tokens than wanted");
                for (const tq::token_id token : rollout.tokens())
                    tq::fuzz::require(token >= 0 || speaks == dialect::openai,
                                      "tokens are numbers");
                tq::fuzz::require(!(rollout.log_probability > 1), "no probability above one");
            }
        } else {
            server_reward reward{
                patience, {.path = static_cast<reward_path>(what - 3), .decode = letters.decode}};
            const tq::answer_view answer{prompt, prompt};
            double value = 0;
            tq::score_answers(reward, {&answer, 1}, {&value, 1});
        }
    });
    return 0;
}
