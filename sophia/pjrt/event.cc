#include "sophia/pjrt/event.h"

#include <utility>

#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

struct Pending {
  Event event;
  std::function<void()> callback;
  std::shared_ptr<const Plugin> plugin;
};

void RunPending(PJRT_Error* error, void* user_arg) {
  const std::unique_ptr<Pending> pending(static_cast<Pending*>(user_arg));
  if (error != nullptr) {
    PJRT_Error_Destroy_Args args{.struct_size = sizeof(args), .error = error};
    pending->plugin->api().PJRT_Error_Destroy(&args);
  }
  pending->callback();
}

}  // namespace

Event::Event(std::shared_ptr<const Plugin> plugin, PJRT_Event* event, std::string_view where)
    : plugin_(std::move(plugin)), event_(event), where_(where) {}

Event::~Event() {
  if (event_ != nullptr) Destroy<&PJRT_Api::PJRT_Event_Destroy>(*plugin_, {.event = event_});
}

Event::Event(Event&& other) noexcept
    : plugin_(std::move(other.plugin_)),
      event_(std::exchange(other.event_, nullptr)),
      where_(std::move(other.where_)) {}

Event& Event::operator=(Event&& other) noexcept {
  Event taken(std::move(other));
  std::swap(plugin_, taken.plugin_);
  std::swap(event_, taken.event_);
  std::swap(where_, taken.where_);
  return *this;
}

void Event::Await() const {
  if (event_ == nullptr) return;
  PJRT_Event_Await_Args args{.struct_size = sizeof(args), .event = event_};
  ThrowIfError(plugin_->api(), plugin_->api().PJRT_Event_Await(&args), where_);
}

bool Event::IsReady() const {
  if (event_ == nullptr) return true;
  return Call<&PJRT_Api::PJRT_Event_IsReady>(*plugin_, {.event = event_}).is_ready;
}

void Event::OnReady(Event event, std::function<void()> callback) {
  if (event.event_ == nullptr) return callback();
  PJRT_Event* raw = event.event_;
  auto plugin = event.plugin_;
  // The callback may run, and free `pending`, before the call returns.
  auto* pending = new Pending{std::move(event), std::move(callback), plugin};
  try {
    Call<&PJRT_Api::PJRT_Event_OnReady>(
        *plugin, {.event = raw, .callback = RunPending, .user_arg = pending});
  } catch (const CallError&) {
    delete pending;
    throw;
  }
}

}  // namespace sophia::pjrt
