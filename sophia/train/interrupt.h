#pragma once

namespace sophia::train {

// While alive, the first SIGINT or SIGTERM is only remembered, so that a run can save and stop; a
// second one acts as usual. One at a time in a process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // SIGINT or SIGTERM once it came, else 0.
  int received() const;
};

}  // namespace sophia::train
