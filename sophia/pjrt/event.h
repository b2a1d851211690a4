#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sophia/pjrt/plugin.h"

struct PJRT_Event;

namespace sophia::pjrt {

// Completion of asynchronous work. Dropping an Event does not cancel or wait. A default-constructed
// Event is complete.
class Event {
 public:
  Event() = default;
  // Takes ownership of `event`; `where` names the call whose work it stands for.
  Event(std::shared_ptr<const Plugin> plugin, PJRT_Event* event, std::string_view where);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  // Waits; throws CallError named after the call whose work failed.
  void Await() const;
  bool IsReady() const;

  // Runs `callback` once the work is over, whether it failed or not, perhaps on a thread of the
  // plugin, where it must not throw.
  static void OnReady(Event event, std::function<void()> callback);

 private:
  std::shared_ptr<const Plugin> plugin_;
  PJRT_Event* event_ = nullptr;
  std::string where_;
};

}  // namespace sophia::pjrt
