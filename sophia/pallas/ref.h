#pragma once

#include <optional>
#include <vector>

#include "sophia/pallas/val.h"

namespace sophia::pallas {

// `size` elements from `start` on (pl.ds). A dynamic start is an s32 scalar.
struct Ds {
  Ds(Arg from, int64_t count) : start(from), size(count) {}
  Arg start;
  int64_t size;
};

// The whole dimension (":" in NumPy).
struct All {};

// One position of an index: a number or s32 scalar (drops the dimension), Ds, or All.
class Index {
 public:
  Index(const Val& at, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : start_(Arg(at, loc)), loc_(loc) {}
  template <std::integral T>
  Index(T at, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : start_(Arg(at, loc)), loc_(loc) {}
  Index(const Ds& ds, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : start_(ds.start), size_(ds.size), loc_(loc) {}
  Index(All /*all*/, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : loc_(loc) {}

  const std::optional<Arg>& start() const { return start_; }
  const std::optional<int64_t>& size() const { return size_; }
  Loc loc() const { return loc_; }

 private:
  std::optional<Arg> start_;
  std::optional<int64_t> size_;
  Loc loc_;
};

struct LoadOptions {
  Val mask = {};     // bool; where false, `other` is returned
  double other = 0;  // used with a mask
};
struct StoreOptions {
  Val mask = {};  // bool; elements where false stay
};

// A buffer of the kernel, or a rectangular part of one. Handles are cheap to copy.
class Ref {
 public:
  Ref(int64_t root, const RefDef& def);

  const Shape& shape() const { return shape_; }
  const Dims& dims() const { return shape_.dims; }
  DType dtype() const { return shape_.dtype; }
  int64_t dim(int64_t axis) const;

  // A part; missing trailing positions mean All. Static positions must lie inside; dynamic rows
  // must be known multiples of the tile (8), lanes of 128: `i * 128`, or AssumeMultiple.
  Ref At(const std::vector<Index>& index, Loc loc = Loc::current()) const;

  // The content, as a vector from VMEM and as a scalar (all positions given) from SMEM.
  Val Load(const LoadOptions& options = {}, Loc loc = Loc::current()) const;
  // Replaces the content. The value has the ref's shape and type, or is a number.
  void Store(Arg value, const StoreOptions& options = {}) const;

  int64_t root() const { return root_; }
  const RefDef& def() const { return *def_; }
  const std::vector<Arg>& starts() const { return starts_; }
  // One size for each dimension of the root, dropped ones included.
  const Dims& sizes() const { return sizes_; }

 private:
  int64_t root_;
  const RefDef* def_;
  Shape shape_;
  std::vector<Arg> starts_;
  Dims sizes_;
  std::vector<bool> dropped_;
};

// A DMA between HBM (kAny) and VMEM or SMEM, or within VMEM (pltpu.make_async_copy). Both refs have
// one shape and type; `semaphore` is a single one: scratch DmaSemaphore(), or At({i}) of several.
// Wait may be called on an equal copy made later.
class AsyncCopy {
 public:
  AsyncCopy(Ref source, Ref target, Ref semaphore, Loc loc = Loc::current());
  void Start(Loc loc = Loc::current()) const;
  void Wait(Loc loc = Loc::current()) const;

 private:
  Ref source_;
  Ref target_;
  Ref semaphore_;
};

// A ref's part as an instruction holds it.
struct Part {
  int64_t ref = 0;
  std::vector<Val> starts;
  Dims sizes;
};

extern const KernelOp kLoad;
extern const KernelOp kStore;
extern const KernelOp kDmaStart;
extern const KernelOp kDmaWait;

}  // namespace sophia::pallas
