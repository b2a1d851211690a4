#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/shape.h"
#include "sophia/pjrt/client.h"
#include "sophia/pjrt/event.h"

struct PJRT_Buffer;

namespace sophia::pjrt {

enum class HostSemantics {
  kCopy,      // the bytes may change or go once FromHost returns
  kAsync,     // the bytes must stay until the transfer is over
  kZeroCopy,  // the buffer may read the bytes in place: they must stay as long as the buffer's data
};

struct FromHostOptions {
  HostSemantics semantics = HostSemantics::kCopy;
  // Owner of the bytes, released once the plugin no longer reads them. Without it the caller keeps
  // them alive.
  std::shared_ptr<const void> keep_alive;
  // Memory kind of the device, such as "pinned_host"; the device's default where empty.
  std::string memory_kind;
};

// An array in a device's memory. Move-only; shares its client's ownership.
class Buffer {
 public:
  // Starts the transfer of dense row-major bytes; 4-bit types are packed two a byte, the earlier
  // element in the low half. Throws Error if the size of `bytes` is not the shape's.
  static Buffer FromHost(const Device& device, const Shape& shape, std::span<const std::byte> bytes,
                         const FromHostOptions& options = {});
  template <typename T>
  static Buffer FromHost(const Device& device, const Shape& shape, const std::vector<T>& values) {
    return FromHost(device, shape, std::as_bytes(std::span(values)));
  }

  // Takes ownership of `buffer`.
  Buffer(std::shared_ptr<const Client> client, PJRT_Buffer* buffer);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  Shape shape() const;
  Device device() const;
  Memory memory() const;
  // Bytes on the device, with its padding.
  int64_t device_bytes() const;

  // Complete when the data is there. Await throws CallError if the computation that makes it fails.
  Event Ready() const;
  void Await() const { Ready().Await(); }
  bool IsReady() const { return Ready().IsReady(); }

  // Copies row-major bytes, packed as for FromHost, into `bytes` of exactly the shape's size; the
  // asynchronous form needs them to stay until its event completes (4-bit types are complete on
  // return).
  void ToHost(std::span<std::byte> bytes) const;
  [[nodiscard]] Event ToHostAsync(std::span<std::byte> bytes) const;
  // The elements as T, whose size must be the element's. Throws Error otherwise.
  template <typename T>
  std::vector<T> ToVector() const {
    const Shape shape = this->shape();
    if (Info(shape.dtype).bits != static_cast<int>(8 * sizeof(T))) {
      Fail("ToVector", "expected elements of {} bits, got {}", 8 * sizeof(T), ToString(shape));
    }
    std::vector<T> values(shape.elements());
    ToHost(std::as_writable_bytes(std::span(values)));
    return values;
  }

  // Copies within the client; to the device or memory the buffer is in is an Error.
  Buffer CopyTo(const Device& device) const;
  Buffer CopyTo(const Memory& memory) const;

  // Frees the device memory once pending work is done with it; the handle stays.
  void Delete();
  // True after Delete and after the buffer was donated.
  bool IsDeleted() const;

  // Address of the data for same-process use (on the CPU a host pointer), where offered.
  std::optional<uintptr_t> UnsafePointer() const;

  const Client& client() const { return *client_; }
  PJRT_Buffer* raw() const { return buffer_; }

 private:
  std::shared_ptr<const Client> client_;
  PJRT_Buffer* buffer_ = nullptr;
};

}  // namespace sophia::pjrt
