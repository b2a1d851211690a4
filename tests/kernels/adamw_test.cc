// What the cases of AdamW do not show: views of parameters and errors.
#include "sophia/kernels/adamw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error_for_test.h"
#include "sophia/graph/ops/creation.h"

namespace sophia::kernels {
namespace {

using testing::HasSubstr;

constexpr KernelTarget kInterpret{.mode = pallas::Mode::kInterpret};

TEST(ParamRowsTest, PutLongDimensionsOnLanes) {
  EXPECT_EQ(ParamRows({30, 16, 576}), (Dims{480, 576}));
  EXPECT_EQ(ParamRows({30, 576, 16}), (Dims{480, 576}));
  EXPECT_EQ(ParamRows({2, 3, 64, 128}), (Dims{384, 128}));
  EXPECT_EQ(ParamRows({16, 64}), (Dims{16, 64}));
  EXPECT_EQ(ParamRows({300}), (Dims{1, 300}));
  EXPECT_EQ(ParamRows({}), (Dims{1, 1}));
  EXPECT_EQ(ToString(MomentCodes({30, 576, 16})), "u8[480, 576]");
  EXPECT_EQ(ToString(MomentAbsmax({30, 576, 16})), "f32[2, 1, 576]");
}

class AdamWErrorsTest : public testing::Test {
 protected:
  Tensor Input(const Shape& shape) { return graph_.AddInput(shape, {.name = "x"}); }
  Tensor F32(const Dims& dims) { return Input({DType::kF32, dims}); }

  Graph graph_;
  Tracing tracing_{graph_};
  Tensor one_ = Scalar(DType::kF32, 1);
  AdamWScalars scalars_{one_, one_, one_, one_};
};

TEST_F(AdamWErrorsTest, NameWhatDoesNotFit) {
  const Tensor w = F32({16, 128});
  const auto refusal = [&](const Tensor& param, const Tensor& grad, const Moments& moments,
                           const AdamWScalars& scalars, const AdamWOptions& options = {}) {
    return MessageOf([&] { AdamW(param, grad, moments, scalars, kInterpret, options); });
  };
  EXPECT_EQ(refusal(Input({DType::kS32, {4}}), w, {w, w}, scalars_),
            "[adamw] expected a parameter of f32 or bf16, got s32[4]");
  EXPECT_EQ(refusal(w, F32({16, 64}), {w, w}, scalars_),
            "[adamw] expected a gradient of the sizes of f32[16, 128], got f32[16, 64]");
  EXPECT_EQ(
      refusal(w, w, {w, F32({128, 16})}, scalars_),
      "[adamw] expected moments f32, mu also bf16, of the sizes of f32[16, 128], got f32[128, 16]");
  EXPECT_EQ(refusal(w, w, {w, w}, {one_, one_, one_, F32({1})}),
            "[adamw] expected scalars f32[], got f32[1]");
  EXPECT_THAT(refusal(w, w, {w, w}, scalars_, {.block_rows = 8}),
              HasSubstr("expected block_rows in multiples of 16, got 8"));
}

TEST_F(AdamWErrorsTest, NameMomentsOfAnotherForm) {
  const Tensor w = F32({2, 16, 128});
  const Tensor codes = Input({DType::kU8, {32, 128}});
  const Tensor absmax = F32({1, 1, 128});
  const auto refusal = [&](const Moments8Bit& moments) {
    return MessageOf([&] { AdamW8Bit(w, w, moments, scalars_, kInterpret); });
  };
  EXPECT_EQ(refusal({codes, absmax, Input({DType::kS8, {32, 128}}), absmax}),
            "[adamw_8bit] expected nu as u8[32, 128], got s8[32, 128]");
  EXPECT_EQ(refusal({codes, F32({1, 128}), codes, absmax}),
            "[adamw_8bit] expected mu_absmax as f32[1, 1, 128], got f32[1, 128]");
}

}  // namespace
}  // namespace sophia::kernels
