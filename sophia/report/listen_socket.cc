#include "sophia/report/listen_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "sophia/base/error.h"

namespace sophia::report {
namespace {

constexpr int kBacklog = 16;

bool IsLoopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(address);
    return ntohl(ip->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const auto* ip = reinterpret_cast<const sockaddr_in6*>(address);
  return IN6_IS_ADDR_LOOPBACK(&ip->sin6_addr);
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  SOPHIA_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  // The port has the same place in both.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

}  // namespace

ListenSocket Listen(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> address(found, freeaddrinfo);
  if (failure != 0) {
    Fail("serve_host", "expected a name or address of this machine, got {}: {}", host,
         gai_strerror(failure));
  }
  ListenSocket result{.fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
                      .is_loopback = IsLoopback(found->ai_addr)};
  const int yes = 1;
  setsockopt(result.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (result.fd < 0 || bind(result.fd, found->ai_addr, found->ai_addrlen) != 0 ||
      listen(result.fd, kBacklog) != 0) {
    const int error = errno;
    close(result.fd);
    Fail("serve", "expected to listen on {} port {}, got: {}", host, port, std::strerror(error));
  }
  result.port = PortOf(result.fd);
  return result;
}

}  // namespace sophia::report
