#include "sophia/train/interrupt.h"

#include <csignal>

#include "sophia/base/error.h"

namespace sophia::train {
namespace {

volatile std::sig_atomic_t received_signal = 0;
struct sigaction previous_interrupt {};
struct sigaction previous_terminate {};

void Remember(int signal) { received_signal = signal; }

// What the parent has ignored, as nohup does, stays ignored.
void Install(int signal, struct sigaction& previous) {
  struct sigaction action {};
  action.sa_handler = Remember;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  SOPHIA_CHECK(sigaction(signal, nullptr, &previous) == 0);
  if (previous.sa_handler == SIG_IGN) return;
  SOPHIA_CHECK(sigaction(signal, &action, nullptr) == 0);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  received_signal = 0;
  Install(SIGINT, previous_interrupt);
  Install(SIGTERM, previous_terminate);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_interrupt, nullptr);
  sigaction(SIGTERM, &previous_terminate, nullptr);
}

int InterruptGuard::received() const { return received_signal; }

}  // namespace sophia::train
