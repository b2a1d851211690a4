#include "sophia/pjrt/buffer.h"

#include <numeric>
#include <utility>

#include "sophia/base/strings.h"
#include "sophia/pjrt/buffer_type.h"
#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

constexpr std::string_view kFromHost = MethodName<&PJRT_Api::PJRT_Client_BufferFromHostBuffer>();
constexpr std::string_view kToHost = MethodName<&PJRT_Api::PJRT_Buffer_ToHostBuffer>();

bool IsPacked(DType dtype) { return Info(dtype).bits < 8; }

// PJRT's host side holds a 4-bit element in a byte of its own.
std::vector<std::byte> Unpack(std::span<const std::byte> packed, int64_t elements) {
  std::vector<std::byte> result(elements);
  for (int64_t i = 0; i < elements; ++i) {
    const std::byte pair = packed[i / 2];
    result[i] = i % 2 == 0 ? pair & std::byte{15} : pair >> 4;
  }
  return result;
}

void Pack(std::span<const std::byte> unpacked, std::span<std::byte> packed) {
  for (size_t i = 0; i < packed.size(); ++i) {
    const std::byte low = unpacked[2 * i] & std::byte{15};
    const bool has_high = 2 * i + 1 < unpacked.size();
    packed[i] = has_high ? low | unpacked[2 * i + 1] << 4 : low;
  }
}

PJRT_HostBufferSemantics ToPjrt(HostSemantics semantics) {
  switch (semantics) {
    case HostSemantics::kCopy:
      return PJRT_HostBufferSemantics_kImmutableOnlyDuringCall;
    case HostSemantics::kAsync:
      return PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes;
    case HostSemantics::kZeroCopy:
      return PJRT_HostBufferSemantics_kImmutableZeroCopy;
  }
  SOPHIA_CHECK(false);
  return {};
}

void CheckSize(const Shape& shape, size_t got, std::string_view where) {
  if (static_cast<int64_t>(got) != shape.bytes()) {
    Fail(where, "expected {} bytes for {}, got {}", shape.bytes(), ToString(shape), got);
  }
}

PJRT_Memory* MemoryOfKind(const Device& device, const std::string& kind) {
  if (kind.empty()) return nullptr;
  if (const auto memory = device.FindMemory(kind)) return memory->raw();
  std::vector<std::string> kinds;
  for (const Memory& memory : device.memories()) kinds.push_back(memory.kind());
  Fail(kFromHost, "expected one of the device's memory kinds ({}), got {}", Join(kinds, ", "),
       kind);
}

// Starts the transfer of bytes in PJRT's host form.
Buffer Transfer(const Device& device, const Shape& shape, const std::byte* bytes,
                HostSemantics semantics, const FromHostOptions& options) {
  const Client& client = device.client();
  const auto args = Call<&PJRT_Api::PJRT_Client_BufferFromHostBuffer>(
      client.plugin(), {.client = client.raw(),
                        .data = bytes,
                        .type = ToBufferType(shape.dtype),
                        .dims = shape.dims.data(),
                        .num_dims = shape.dims.size(),
                        .host_buffer_semantics = ToPjrt(semantics),
                        .device = device.raw(),
                        .memory = MemoryOfKind(device, options.memory_kind)});
  Event done(client.shared_plugin(), args.done_with_host_buffer, kFromHost);
  Buffer buffer(client.shared_from_this(), args.buffer);
  if (options.keep_alive) Event::OnReady(std::move(done), [owner = options.keep_alive] {});
  return buffer;
}

}  // namespace

Buffer Buffer::FromHost(const Device& device, const Shape& shape, std::span<const std::byte> bytes,
                        const FromHostOptions& options) {
  CheckSize(shape, bytes.size(), kFromHost);
  if (!IsPacked(shape.dtype)) {
    return Transfer(device, shape, bytes.data(), options.semantics, options);
  }
  return Transfer(device, shape, Unpack(bytes, shape.elements()).data(), HostSemantics::kCopy,
                  options);
}

Buffer::Buffer(std::shared_ptr<const Client> client, PJRT_Buffer* buffer)
    : client_(std::move(client)), buffer_(buffer) {}

Buffer::~Buffer() {
  if (buffer_ != nullptr) {
    Destroy<&PJRT_Api::PJRT_Buffer_Destroy>(client_->plugin(), {.buffer = buffer_});
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : client_(std::move(other.client_)), buffer_(std::exchange(other.buffer_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer taken(std::move(other));
  std::swap(client_, taken.client_);
  std::swap(buffer_, taken.buffer_);
  return *this;
}

Shape Buffer::shape() const {
  const auto type =
      Call<&PJRT_Api::PJRT_Buffer_ElementType>(client_->plugin(), {.buffer = buffer_});
  const auto dims = Call<&PJRT_Api::PJRT_Buffer_Dimensions>(client_->plugin(), {.buffer = buffer_});
  return {FromBufferType(type.type), Dims(dims.dims, dims.dims + dims.num_dims)};
}

Device Buffer::device() const {
  return {client_.get(),
          Call<&PJRT_Api::PJRT_Buffer_Device>(client_->plugin(), {.buffer = buffer_}).device};
}

Memory Buffer::memory() const {
  return {client_.get(),
          Call<&PJRT_Api::PJRT_Buffer_Memory>(client_->plugin(), {.buffer = buffer_}).memory};
}

int64_t Buffer::device_bytes() const {
  return static_cast<int64_t>(
      Call<&PJRT_Api::PJRT_Buffer_OnDeviceSizeInBytes>(client_->plugin(), {.buffer = buffer_})
          .on_device_size_in_bytes);
}

Event Buffer::Ready() const {
  return {client_->shared_plugin(),
          Call<&PJRT_Api::PJRT_Buffer_ReadyEvent>(client_->plugin(), {.buffer = buffer_}).event,
          MethodName<&PJRT_Api::PJRT_Buffer_ReadyEvent>()};
}

void Buffer::ToHost(std::span<std::byte> bytes) const { ToHostAsync(bytes).Await(); }

Event Buffer::ToHostAsync(std::span<std::byte> bytes) const {
  const Shape shape = this->shape();
  CheckSize(shape, bytes.size(), kToHost);
  std::vector<std::byte> unpacked(IsPacked(shape.dtype) ? shape.elements() : 0);
  const std::span<std::byte> target = unpacked.empty() ? bytes : unpacked;
  if (target.empty()) return Event();

  Dims minor_to_major(shape.rank());
  std::iota(minor_to_major.rbegin(), minor_to_major.rend(), 0);
  PJRT_Buffer_MemoryLayout row_major{
      .struct_size = PJRT_Buffer_MemoryLayout_STRUCT_SIZE,
      .tiled = {.struct_size = PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE,
                .minor_to_major = minor_to_major.data(),
                .minor_to_major_size = minor_to_major.size()},
      .type = PJRT_Buffer_MemoryLayout_Type_Tiled};
  const auto args = Call<&PJRT_Api::PJRT_Buffer_ToHostBuffer>(
      client_->plugin(),
      {.src = buffer_, .host_layout = &row_major, .dst = target.data(), .dst_size = target.size()});
  Event copied(client_->shared_plugin(), args.event, kToHost);
  if (unpacked.empty()) return copied;
  copied.Await();
  Pack(unpacked, bytes);
  return Event();
}

Buffer Buffer::CopyTo(const Device& device) const {
  return {client_, Call<&PJRT_Api::PJRT_Buffer_CopyToDevice>(
                       client_->plugin(), {.buffer = buffer_, .dst_device = device.raw()})
                       .dst_buffer};
}

Buffer Buffer::CopyTo(const Memory& memory) const {
  return {client_, Call<&PJRT_Api::PJRT_Buffer_CopyToMemory>(
                       client_->plugin(), {.buffer = buffer_, .dst_memory = memory.raw()})
                       .dst_buffer};
}

void Buffer::Delete() {
  Call<&PJRT_Api::PJRT_Buffer_Delete>(client_->plugin(), {.buffer = buffer_});
}

bool Buffer::IsDeleted() const {
  return Call<&PJRT_Api::PJRT_Buffer_IsDeleted>(client_->plugin(), {.buffer = buffer_}).is_deleted;
}

std::optional<uintptr_t> Buffer::UnsafePointer() const {
  const auto args =
      TryCall<&PJRT_Api::PJRT_Buffer_UnsafePointer>(client_->plugin(), {.buffer = buffer_});
  if (!args) return std::nullopt;
  return args->buffer_pointer;
}

}  // namespace sophia::pjrt
