#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/kernels/kernel_target.h"

// What kernels share whose rows are independent: arrays [rows, columns] in blocks over a grid {row
// blocks, column blocks}, computed on a few rows at a time so that values fit into registers.
namespace sophia::kernels {

inline constexpr int64_t kLanes = 128;  // of a tile

struct RowBlocks {
  int64_t rows = 0;  // of the arrays
  int64_t columns = 0;
  int64_t block_rows = 0;  // of a program; the last blocks may stick out
  int64_t block_columns = 0;
  int64_t step = 0;  // rows computed at a time, a divisor of block_rows

  Dims grid() const;
  Dims block() const { return {block_rows, block_columns}; }
  pallas::BlockSpec spec() const;
};

struct BlockRowOptions {
  int64_t block_rows = 0;  // 0: as many as half of the chip's VMEM holds twice, at most 512
  int64_t step = 16;
};
// Rows of a block, of which one takes row_bytes in all operands and results. Throws Error unless it
// is a multiple of the step.
int64_t PlanBlockRows(std::string_view kernel, int64_t rows, int64_t row_bytes,
                      const KernelTarget& target, const BlockRowOptions& options);

struct RowBlockOptions {
  int64_t bytes = 0;        // of one element in all operands and results
  bool whole_rows = false;  // a program sees all columns, else at most 2048
  BlockRowOptions rows = {};
};
RowBlocks PlanRows(std::string_view kernel, int64_t rows, int64_t columns,
                   const KernelTarget& target, const RowBlockOptions& options);

// `inputs` blocked operands, and results of the given types.
pallas::KernelSpec RowSpec(std::string name, const RowBlocks& blocks, size_t inputs,
                           const std::vector<DType>& results);

// Calls body for each step of rows of a block.
void ForRowSteps(const RowBlocks& blocks, const std::function<void(const pallas::Ds& rows)>& body);
// The array's row at which a step of the running program starts: s32 scalar.
pallas::Val FirstRow(const RowBlocks& blocks, const pallas::Ds& rows);

// [..., columns] as [rows, columns].
Tensor AsRows(const Tensor& x);

// The rows of a block as f32; and f32 values stored in the ref's type.
pallas::Val LoadRows(const pallas::Ref& ref, const pallas::Ds& rows);
void StoreRows(const pallas::Ref& ref, const pallas::Ds& rows, const pallas::Val& value);

// Throws Error unless x has the shape and type of `like`.
void CheckLike(std::string_view kernel, std::string_view name, const Tensor& x, const Tensor& like);

}  // namespace sophia::kernels
