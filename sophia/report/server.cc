#include "sophia/report/server.h"

#include <fmt/format.h>
#include <microhttpd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include "sophia/base/error.h"
#include "sophia/base/process.h"
#include "sophia/report/listen_socket.h"
#include "sophia/report/page.h"

namespace sophia::report {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMostConnections = 16;
constexpr unsigned kMostOfOneAddress = 4;
constexpr unsigned kIdleSeconds = 10;
// Of a request's head, and of what is sent at a time.
constexpr size_t kConnectionBytes = 16 << 10;
constexpr std::chrono::milliseconds kOldestAnswer{500};
constexpr size_t kTokenBytes = 16;

std::string RandomToken() {
  std::array<unsigned char, kTokenBytes> bytes{};
  SOPHIA_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  std::string token;
  for (const unsigned char byte : bytes) token += fmt::format("{:02x}", byte);
  return token;
}

// Takes as long for every text of the same length.
bool IsSame(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

// "name:8080" and "[::1]:8080" without the port.
std::string_view WithoutPort(std::string_view host) {
  const size_t colon = host.rfind(':');
  const bool has_port = colon != std::string_view::npos && host.find(']', colon) == host.npos;
  return has_port ? host.substr(0, colon) : host;
}

std::string UrlHost(const std::string& host) {
  if (host == "0.0.0.0" || host == "::") return HostName();
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

struct Answer {
  unsigned status = MHD_HTTP_OK;
  std::string text;
};

}  // namespace

// Used by the server's thread alone once it runs.
struct LiveServer::State {
  explicit State(const std::filesystem::path& folder) : files(folder) {}

  RunFiles files;
  std::string host;   // as the user called it
  std::string token;  // empty: not needed
  Clock::time_point read_at;
  std::optional<std::string> body;
  MHD_Daemon* daemon = nullptr;

  bool Admits(MHD_Connection* connection) const {
    const auto value = [&](MHD_ValueKind kind, const char* key) -> std::string_view {
      const char* text = MHD_lookup_connection_value(connection, kind, key);
      return text == nullptr ? "" : text;
    };
    if (!token.empty()) return IsSame(value(MHD_GET_ARGUMENT_KIND, "token"), token);
    const std::string_view name = WithoutPort(value(MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST));
    return name == "localhost" || name == "127.0.0.1" || name == "[::1]" || name == UrlHost(host);
  }

  Answer AnswerTo(MHD_Connection* connection, std::string_view url, std::string_view method) {
    const bool is_read = method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD;
    if (!is_read) return {MHD_HTTP_METHOD_NOT_ALLOWED, "expected GET\n"};
    if (!Admits(connection)) {
      return {MHD_HTTP_FORBIDDEN, "expected the address that sophia printed\n"};
    }
    if (url != "/" && url != "/body") return {MHD_HTTP_NOT_FOUND, "expected / or /body\n"};
    const std::string text = CurrentBody();
    return {MHD_HTTP_OK, url == "/" ? PageAround(text, files, true) : text};
  }

  std::string CurrentBody() {
    if (!files.HasNewRun()) return StartingBody(files);
    const bool is_old = !body || Clock::now() - read_at > kOldestAnswer;
    if (is_old) {
      files.Refresh();
      body = Body(files, true);
      read_at = Clock::now();
    }
    return *body;
  }
};

namespace {

MHD_Result Send(MHD_Connection* connection, const Answer& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.text.size(), const_cast<char*>(answer.text.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  const auto header = [&](const char* name, const char* value) {
    MHD_add_response_header(response, name, value);
  };
  static const std::string kPolicy = SecurityPolicy(true) + "; frame-ancestors 'none'";
  const bool is_page = answer.status == MHD_HTTP_OK;
  header("Content-Type", is_page ? "text/html; charset=utf-8" : "text/plain; charset=utf-8");
  header("Content-Security-Policy", kPolicy.c_str());
  header("X-Content-Type-Options", "nosniff");
  header("Cache-Control", "no-store");
  header("Referrer-Policy", "no-referrer");
  header("Cross-Origin-Resource-Policy", "same-origin");
  if (answer.status == MHD_HTTP_METHOD_NOT_ALLOWED) header("Allow", "GET, HEAD");
  const MHD_Result result = MHD_queue_response(connection, answer.status, response);
  MHD_destroy_response(response);
  return result;
}

// A request's body is never read: answering before it comes closes the connection.
template <typename State>
MHD_Result Handle(void* closure, MHD_Connection* connection, const char* url, const char* method,
                  const char* /*version*/, const char* /*upload*/, size_t* /*upload_size*/,
                  void** /*request*/) {
  try {
    return Send(connection, static_cast<State*>(closure)->AnswerTo(connection, url, method));
  } catch (const std::exception&) {
    return Send(connection, {MHD_HTTP_INTERNAL_SERVER_ERROR, "expected to read the run\n"});
  }
}

}  // namespace

LiveServer::LiveServer(const std::filesystem::path& folder, const ServerOptions& options)
    : state_(std::make_unique<State>(folder)) {
  const ListenSocket socket = Listen(options.host, options.port);
  state_->host = options.host;
  url_ = fmt::format("http://{}:{}/", UrlHost(options.host), socket.port);
  if (!socket.is_loopback) {
    state_->token = RandomToken();
    url_ += "?token=" + state_->token;
  }
  state_->daemon = MHD_start_daemon(
      MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, nullptr, nullptr, &Handle<State>,
      state_.get(), MHD_OPTION_LISTEN_SOCKET, socket.fd, MHD_OPTION_CONNECTION_LIMIT,
      kMostConnections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, kMostOfOneAddress,
      MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      kConnectionBytes, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
  if (state_->daemon == nullptr) {
    close(socket.fd);
    Fail("serve", "expected a thread that serves {}, got none", url_);
  }
}

LiveServer::~LiveServer() { MHD_stop_daemon(state_->daemon); }

}  // namespace sophia::report
