#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace sophia::report {

struct ServerOptions {
  std::string host = "127.0.0.1";  // a name or address of this machine
  int port = 0;                    // 0: any that is free
};

// Shows a run's folder as a live page over HTTP, from a thread of its own that reads the run's
// files only. It serves the page and its body, by GET, and looks nothing else up. On an address
// that other machines reach, every request needs the random token of url(); on a loopback address
// requests must name this machine, so that no web site can ask through a name of its own.
class LiveServer {
 public:
  // Throws Error when the address cannot be served on, such as a port in use.
  LiveServer(const std::filesystem::path& folder, const ServerOptions& options);
  ~LiveServer();
  LiveServer(const LiveServer&) = delete;
  LiveServer& operator=(const LiveServer&) = delete;

  // What to open in a browser.
  const std::string& url() const { return url_; }

 private:
  struct State;

  std::unique_ptr<State> state_;
  std::string url_;
};

}  // namespace sophia::report
