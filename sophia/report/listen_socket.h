#pragma once

#include <string>

namespace sophia::report {

// A TCP socket that listens.
struct ListenSocket {
  int fd = -1;
  int port = 0;
  bool is_loopback = false;  // other machines cannot reach it
};

// On `host`, a name or address of this machine; port 0: any that is free. The caller closes it.
// Throws Error for an unknown host and a port that is taken.
ListenSocket Listen(const std::string& host, int port);

}  // namespace sophia::report
